"""A scanner that images an anatomy: protocol, breath-holds, coil, k-space and noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import scipy  # whose parts are loaded when they are used
from numpy.typing import NDArray

from cardioseg.core.errors import InputError
from cardioseg.phantoms import signals
from cardioseg.phantoms.anatomy import Anatomy
from cardioseg.phantoms.shapes import Floats, Texture
from cardioseg.phantoms.slices import draw_slice

Modality = Literal["bSSFP", "LGE", "T2"]
# In the order of their random streams.
MODALITIES: tuple[Modality, ...] = get_args(Modality)
# Standard deviations (x, y, z; mm) of where an examination finds the heart, and of where each breath-hold in it does.
EXAMINATION_SHIFT = (1.4, 1.7, 2.5)
SLICE_SHIFT = (1.5, 2.0, 1.7)
TILT_DEGREES = 3.5  # likewise, of the heart about each axis


@dataclass(frozen=True)
class Acquisition:
    """How a scanner images a patient: one modality's geometry, signals and imperfections.

    Attributes
    ----------
    matrix : int
        Pixels along each side of the square image.
    pixel : float
        In-plane spacing in mm.
    thickness : float
        Distance between slices and their thickness in mm.
    heights : tuple of float
        Height of each slice above the epicardial apex in mm, ascending, so that slice 0 is apical.
    centre : tuple of float
        (x, y) of the middle of the field of view in mm.
    shifts : ndarray of shape (slices, 3)
        Displacement of the anatomy in each slice, which has a breath-hold of its own: (x, y, z) in mm.
    signals : tuple of mapping of str to float
        For each slice the signal of each tissue; that of blood is about 1.
    acquired_pixel : float
        Spacing that the sampled part of k-space resolves in mm; the rest is filled with zeros.
    noise : float
        Standard deviation of the noise in each channel, over the signal of blood.
    coil : tuple of float
        (x, y) of the receive coil in mm and the distance in mm over which its sensitivity falls by half.
    flow : Texture
        Modulation of the brightness by inflow and other smooth imperfections.
    flow_strength : float
        Standard deviation of this modulation.
    gain : float
        Stored value of the signal of blood.
    """

    matrix: int
    pixel: float
    thickness: float
    heights: tuple[float, ...]
    centre: tuple[float, float]
    shifts: NDArray[np.float64]
    signals: tuple[Mapping[str, float], ...]
    acquired_pixel: float
    noise: float
    coil: tuple[float, float, float]
    flow: Texture
    flow_strength: float
    gain: float


def draw_acquisition(
    rng: np.random.Generator, modality: Modality, anatomy: Anatomy, matrix_scale: float = 1.0
) -> Acquisition:
    """Draw the protocol, the patient's breath-holds and the imperfections of one examination.

    Parameters
    ----------
    rng : Generator
        Source of the draws.
    modality : one of 'bSSFP', 'LGE', 'T2'
        The modality.
    anatomy : Anatomy
        The patient.
    matrix_scale : float
        A factor from 0.1 to 2 that multiplies the matrix and divides the pixel size, so that the field of view stays.

    Returns
    -------
    Acquisition
        The examination.

    Raises
    ------
    InputError
        `matrix_scale` is out of range.
    """
    if not 0.1 <= matrix_scale <= 2:
        raise InputError(f"the phantom's matrix_scale is {matrix_scale}: expected a number from 0.1 to 2")
    if modality == "bSSFP":
        full_matrix = int(rng.choice((256, 288, 320)))
        full_pixel = rng.uniform(1.19, 1.25)
        thickness = float(rng.choice((8, 10, 11, 12, 13), p=(0.6, 0.1, 0.1, 0.1, 0.1)))
        fewest, most, beyond = 8, 14, rng.uniform(6, 24)
    elif modality == "T2":
        full_matrix = int(rng.choice((256, 288)))
        full_pixel = rng.uniform(1.3, 1.4)
        thickness, fewest, most, beyond = rng.uniform(12, 23), 3, 7, rng.uniform(-40, 6)
    else:
        full_matrix = int(rng.choice((400, 416, 432, 448, 480, 512)))
        full_pixel = rng.uniform(0.73, 0.76)
        # A stack of LGE ends with the heart.
        thickness, fewest, most, beyond = 5.0, 10, 20, rng.uniform(-8, 2)
    matrix = 2 * round(full_matrix * matrix_scale / 2)
    first = rng.uniform(-0.3, 0.7) * thickness
    slices = int(np.clip(round((anatomy.length + beyond - first) / thickness) + 1, fewest, most))
    if modality == "bSSFP":
        seen = [signals.draw_bssfp_signals(rng)] * slices
        noise, acquired_pixel, flow_strength, gain = rng.uniform(0.02, 0.08), 1.4, 0.14, rng.uniform(400, 900)
    elif modality == "T2":
        seen = [signals.draw_t2_prepared_signals(rng)] * slices
        noise, acquired_pixel, flow_strength, gain = rng.uniform(0.03, 0.08), 1.7, 0.16, rng.uniform(150, 500)
    else:
        seen = signals.draw_late_enhancement_signals(rng, slices)
        noise, acquired_pixel, flow_strength, gain = rng.uniform(0.05, 0.125), 1.5, 0.18, rng.uniform(110, 440)
    reach = anatomy.chest_distance + 70
    return Acquisition(
        matrix=matrix,
        pixel=full_pixel * full_matrix / matrix,
        thickness=thickness,
        heights=tuple(first + thickness * index for index in range(slices)),
        centre=(rng.normal(0, 12), rng.normal(0, 12)),
        shifts=rng.normal(0, EXAMINATION_SHIFT) + rng.normal(0, SLICE_SHIFT, (slices, 3)),
        signals=tuple(seen),
        acquired_pixel=acquired_pixel,
        noise=noise,
        coil=(
            reach * math.cos(anatomy.chest_angle),
            reach * math.sin(anatomy.chest_angle),
            rng.uniform(200, 400),
        ),
        flow=Texture(rng, 12, 100),
        flow_strength=flow_strength,
        gain=gain,
    )


def acquire_slice(
    rng: np.random.Generator, magnetisation: Floats, pixel: float, acquired_pixel: float, noise: float
) -> Floats:
    """Image a magnetisation through a finite and noisy k-space.

    Frequencies beyond 1 / (2 `acquired_pixel`) are dropped, and the outermost of the others are tapered.

    Parameters
    ----------
    rng : Generator
        Source of the noise.
    magnetisation : ndarray of shape (ny, nx)
        The signed magnetisation.
    pixel, acquired_pixel : float
        Spacing of the image, and the spacing that the sampled part of k-space resolves, in mm.
    noise : float
        Standard deviation of the noise in the real and in the imaginary channel of the image. The magnitude is Rician.

    Returns
    -------
    ndarray of shape (ny, nx)
        The magnitude image.
    """
    window = np.ones(magnetisation.shape, np.float32)
    for axis, length in enumerate(magnetisation.shape):
        frequency = np.abs(scipy.fft.fftfreq(length, pixel)) * 2 * acquired_pixel
        taper = np.where(frequency < 1, 0.5 + 0.5 * np.cos(np.pi * np.clip(3 * frequency - 2, 0, 1)), 0)
        window *= np.expand_dims(taper.astype(np.float32), 1 - axis)
    white = np.float32(noise / math.sqrt(float(np.mean(window**2))))
    real, imaginary = white * rng.standard_normal((2, *magnetisation.shape), dtype=np.float32)
    spectrum = scipy.fft.fft2(magnetisation + real + np.complex64(1j) * imaginary)
    return np.abs(scipy.fft.ifft2(spectrum * window))


class Drawn(NamedTuple):
    """An image of a patient, with its ground truth and its geometry.

    Attributes
    ----------
    image : ndarray of int16, shape (z, y, x)
        The image. Slice 0 is apical.
    labels, scar, segments : ndarray of int16, shape (z, y, x)
        The ground truth, see `slices.Slice`.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).
    affine : ndarray of shape (4, 4)
        From the index (x, y, z) to scanner coordinates in mm.
    """

    image: NDArray[np.int16]
    labels: NDArray[np.int16]
    scar: NDArray[np.int16]
    segments: NDArray[np.int16]
    spacing: tuple[float, float, float]
    affine: NDArray[np.float64]


def acquire(rng: np.random.Generator, anatomy: Anatomy, acquisition: Acquisition, frame: NDArray[np.float64]) -> Drawn:
    """Image an anatomy.

    Parameters
    ----------
    rng : Generator
        Source of the noise.
    anatomy : Anatomy
        The patient.
    acquisition : Acquisition
        The examination.
    frame : ndarray of shape (4, 4)
        From the left ventricle's coordinates (x, y, z) to scanner coordinates, both in mm.

    Returns
    -------
    Drawn
        The image and its ground truth.
    """
    a = acquisition
    offsets = ((np.arange(a.matrix) - (a.matrix - 1) / 2) * a.pixel).astype(np.float32)
    x, y = offsets + np.float32(a.centre[0]), offsets + np.float32(a.centre[1])
    distance_squared = ((x[None, :] - a.coil[0]) ** 2 + (y[:, None] - a.coil[1]) ** 2) / a.coil[2] ** 2
    shading = (1 + (a.coil[0] ** 2 + a.coil[1] ** 2) / a.coil[2] ** 2) / (1 + distance_squared)
    image = np.zeros((len(a.heights), a.matrix, a.matrix), np.int16)
    labels, scar, segments = np.zeros_like(image), np.zeros_like(image), np.zeros_like(image)
    for index, (height, shift, signal) in enumerate(zip(a.heights, a.shifts, a.signals, strict=True)):
        here, there = x - np.float32(shift[0]), y - np.float32(shift[1])
        cut = draw_slice(anatomy, here, there, height + float(shift[2]), a.pixel, a.thickness)
        labels[index], scar[index], segments[index] = cut.labels, cut.scar, cut.segments
        magnetisation = sum(np.float32(signal[tissue]) * part for tissue, part in cut.fractions.items())
        mottle = a.flow_strength * a.flow(x, y, height)
        magnitude = acquire_slice(rng, magnetisation * shading * (1 + mottle), a.pixel, a.acquired_pixel, a.noise)
        image[index] = np.rint(np.clip(a.gain * magnitude, 0, 32767))
    to_patient = np.diag((a.pixel, a.pixel, a.thickness, 1.0))
    to_patient[:3, 3] = x[0], y[0], a.heights[0]
    return Drawn(image, labels, scar, segments, (a.thickness, a.pixel, a.pixel), frame @ to_patient)


def draw_frame(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the pose of a left ventricle in the scanner.

    Parameters
    ----------
    rng : Generator
        Source of the draws.

    Returns
    -------
    ndarray of shape (4, 4)
        From the left ventricle's coordinates (x, y, z) to scanner coordinates (right, anterior, superior), both in mm:
        x runs backwards, y upwards.
    """
    long_axis = np.array((0.6, -0.65, 0.45)) + rng.normal(0, 0.07, 3)
    long_axis /= np.linalg.norm(long_axis)
    columns = np.array((-0.65, -0.72, -0.15)) + rng.normal(0, 0.07, 3)
    columns -= long_axis * (columns @ long_axis)
    columns /= np.linalg.norm(columns)
    frame = np.eye(4)
    # Left-handed, as the volumes of the release are.
    frame[:3, :3] = np.stack((columns, -np.cross(long_axis, columns), long_axis), axis=1)
    frame[:3, 3] = np.array((-60, 20, -20)) + rng.normal(0, 15, 3)
    return frame


def draw_motion(rng: np.random.Generator, anatomy: Anatomy) -> NDArray[np.float64]:
    """Draw how a heart has turned about its middle since the examination that found its pose.

    Parameters
    ----------
    rng : Generator
        The random numbers.
    anatomy : Anatomy
        The heart.

    Returns
    -------
    ndarray of shape (4, 4)
        The motion, in the heart's frame.
    """
    x, y, z = np.deg2rad(rng.normal(0, TILT_DEGREES, 3))
    turn = np.array(((0, -z, y), (z, 0, -x), (-y, x, 0)))
    motion = np.eye(4)
    motion[:3, :3] = scipy.linalg.expm(turn)
    middle = np.array((0, 0, anatomy.length / 2))
    motion[:3, 3] = middle - motion[:3, :3] @ middle
    return motion

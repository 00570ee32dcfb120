"""DICOM: reads a short-axis MR series as a volume.

DICOM places voxels in patient mm towards left, posterior and superior (PS3.3 C.7.6.2.1.1). The affine of a volume
points right, anterior and superior. Only the geometry of a header gets into a volume.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from highdicom import PatientSexValues, PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from pydicom import Dataset
from pydicom.valuerep import DA, TM

from cardioseg.cohort import dicom_series
from cardioseg.cohort.dicom_series import UNREADABLE
from cardioseg.core import nifti, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume

POSITION_TOLERANCE_MM = 0.1
DIRECTION_TOLERANCE = 1e-3
LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))
# What pixels cannot be read without.
OF_PIXELS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation"),
)
# For each frame: its functional group in enhanced files, the attribute, how many numbers it has, and their default.
FRAME_ATTRIBUTES = (
    ("PixelValueTransformationSequence", "RescaleSlope", 1, 1.0),
    ("PixelValueTransformationSequence", "RescaleIntercept", 1, 0.0),
    ("PlanePositionSequence", "ImagePositionPatient", 3),
    ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
    ("PixelMeasuresSequence", "PixelSpacing", 2),
)
# Which part of the complex signal an image shows, by the words in ImageType (PS3.3 C.8.3.1.1.1, and vendors' own).
MAGNITUDE = "magnitude"
PARTS = {
    **dict.fromkeys(("M", "MAG", "MAGNITUDE"), MAGNITUDE),
    **dict.fromkeys(("P", "PHA", "PHASE", "VELOCITY"), "phase"),
    **dict.fromkeys(("R", "CR", "REAL"), "real part"),
    **dict.fromkeys(("I", "CI", "IMAG", "IMAGINARY"), "imaginary part"),
}
# GE writes OTHER into ImageType, and the part of the signal into an element of its own.
GE_PART = (0x0043, 0x102F)
GE_PARTS = (MAGNITUDE, "phase", "real part", "imaginary part")
# Attributes that all images of a stack must share, if their headers have them. Measured ones may differ by a part.
SHARED = {"StudyInstanceUID": 0, "PatientID": 0, "ScanningSequence": 0, "EchoTime": 0.2, "FlipAngle": 0.2}
# Those that tell whose images they are. No message shows their values.
OF_A_PERSON = ("StudyInstanceUID", "PatientID")
# Attributes in which the slices of a stack seldom differ. A difference is noted.
NOTED = ("ImageType", "SequenceName", "SeriesDescription")
IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
# Attributes of patient and study that every image has, empty if unknown (type 2), each with its check.
PATIENT_AND_STUDY = {
    **dict.fromkeys(("PatientID", "PatientName", "AccessionNumber", "StudyID", "ReferringPhysicianName"), str),
    **{"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM, "PatientSex": PatientSexValues},
}


@dataclass(frozen=True)
class Series:
    """A volume, and the headers that a segmentation or a structure set of it must refer to.

    Attributes
    ----------
    volume : Volume of shape (z, y, x)
        The images as one stack.
    sources : tuple of Dataset
        One header per file, with identifiers, patient, study and geometry only.
    frames : tuple of int
        For each slice of the volume, its index among the frames of all files.
    missing : tuple of str
        Identifiers that a file lacks. Without them no other object can refer to the series.
    """

    volume: Volume
    sources: tuple[Dataset, ...]
    frames: tuple[int, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Frame:
    """One image with its position.

    Attributes
    ----------
    file : Path
        The file that holds it.
    image : ndarray of float32, shape (y, x)
        Intensities, rescaled as the header says.
    position : ndarray of shape (3,)
        Centre of the first pixel in mm, LPS.
    directions : ndarray of shape (2, 3)
        Directions of the rows and of the columns, LPS.
    spacing : ndarray of shape (2,)
        Distance between rows and between columns in mm.
    frame_of_reference : str
        UID of the coordinates that the position is in; empty where the header has none.
    part : str
        See `_part`.
    """

    file: Path
    image: np.ndarray
    position: np.ndarray
    directions: np.ndarray
    spacing: np.ndarray
    frame_of_reference: str
    part: str


def read_series(path: Path | str) -> Series:
    """Read a stack of MR images from single-frame files or an enhanced multi-frame file.

    Slices are sorted along their normal. Intensities are rescaled as the headers say.

    Parameters
    ----------
    path : Path or str
        A folder that holds one MR series, or several series of one slice each, which scanners make of breath-holds. All
        folders below are searched. Files of other kinds are ignored unless they may have been a slice, as empty ones,
        and so are phase images beside a stack of magnitude images. Or a file, which stands for its series in its
        folder, or for itself if it holds several frames.

    Returns
    -------
    Series
        The stack as float32 (z, y, x), and its headers.

    Raises
    ------
    InputError
        The files are not one complete, straight, evenly spaced stack of grey images of one kind.
    """
    path = Path(path)
    with warnings.catch_warnings(action="ignore"):  # they quote malformed values, such as a patient's name
        try:
            return _read_series(path)
        except InputError:
            raise
        except UNREADABLE as error:
            raise InputError(
                f"{path}: a header holds what DICOM does not allow ({type(error).__name__}); it is damaged. Copy the "
                "series again, or convert it to NIfTI."
            ) from error


def _read_series(path: Path) -> Series:
    headers = {file: dicom_series.read(file) for file in dicom_series.find(path)}
    _check_shared(headers)
    frames = {file: _frames(file, header) for file, header in headers.items()}
    notes = _choose_part(frames) + _differences([headers[file] for file in frames])
    stack = [frame for file in frames for frame in frames[file]]
    order, affine = _stack(path, stack)
    volume = Volume(np.stack([stack[index].image for index in order]), affine, tuple(notes))
    volumes.check_short_axis(path, volume.array, volume.spacing)
    sources = [_source(headers[file], frames[file], stack[0], volume.spacing[0]) for file in frames]
    missing = [name for name in IDENTIFIERS if not all(source.get(name) for source in sources)]
    return Series(volume, tuple(sources), tuple(order), tuple(missing))


def check_identifiers(path: Path | str, series: Series, what: str) -> None:
    """Check that an object can refer to the images of a series.

    Parameters
    ----------
    path : Path or str
        The object's file, for the error.
    series : Series
        The series.
    what : str
        What the object is called, for the error.

    Raises
    ------
    InputError
        The series lacks identifiers.
    """
    if series.missing:
        raise InputError(
            f"{path}: cannot be written, the series' headers have no {', '.join(series.missing)}, by which a DICOM "
            f"{what} refers to its images. The mask is there as NIfTI."
        )


def positions(source: Dataset) -> list[PlanePositionSequence]:
    """Return the position of each frame of a file.

    Parameters
    ----------
    source : Dataset
        The file's header, one of `Series.sources`.

    Returns
    -------
    list of PlanePositionSequence
        The positions, in the order of the frames.
    """
    frames = source.get("PerFrameFunctionalGroupsSequence")
    found = [frame.PlanePositionSequence[0] for frame in frames] if frames else [source]
    return [PlanePositionSequence("PATIENT", position.ImagePositionPatient) for position in found]


def _frames(file: Path, header: Dataset) -> list[_Frame]:
    """Return the images of a file: one, or one for each frame of an enhanced file."""
    if header.get("PhotometricInterpretation", "MONOCHROME2") != "MONOCHROME2":
        raise InputError(
            f"{file}: its pixels are {header.PhotometricInterpretation}; expected grey values (MONOCHROME2). Name the "
            "series as it was acquired."
        )
    if (count := _voxels(file, header)) > nifti.MAXIMAL_VOXELS:
        raise InputError(f"{file}: has {count} voxels by its header; expected at most {nifti.MAXIMAL_VOXELS}.")
    pixels = _pixels(file, header)
    images = pixels[None] if pixels.ndim == 2 else pixels
    frames = []
    for number, stored in enumerate(images):
        slope, intercept, position, directions, spacing = (
            _numbers(file, header, number, *attribute) for attribute in FRAME_ATTRIBUTES
        )
        image = (stored * slope + intercept).astype(np.float32)
        reference, part = str(header.get("FrameOfReferenceUID") or ""), _part(header, number)
        frame = _Frame(file, image, position, directions.reshape(2, 3), spacing, reference, part)
        if not np.allclose(frame.directions @ frame.directions.T, np.eye(2), atol=DIRECTION_TOLERANCE):
            raise InputError(f"{file}: ImageOrientationPatient is not of two perpendicular unit vectors.")
        if frame.spacing.min() <= 0:
            raise InputError(f"{file}: PixelSpacing is {frame.spacing.tolist()}; expected mm above 0.")
        frames.append(frame)
    return frames


def _voxels(file: Path, header: Dataset) -> int:
    try:
        return int(header.get("Rows") or 0) * int(header.get("Columns") or 0) * dicom_series.number_of_frames(header)
    except UNREADABLE as error:
        raise InputError(f"{file}: its header has no valid Rows and Columns. Copy it again.") from error


def _pixels(file: Path, header: Dataset) -> np.ndarray:
    """Return the stored values, (y, x) or (frames, y, x)."""
    if "PixelData" not in header:
        if dicom_series.is_no_image(header):
            kind = pydicom.uid.UID(header.get("SOPClassUID") or header.file_meta.MediaStorageSOPClassUID)
            raise InputError(f"{file}: holds no image ({kind.name}). Name the file of the image, or its folder.")
        raise InputError(f"{file}: has no pixel data; expected an image. Copy or export the series again.")
    if missing := [keyword for keyword in OF_PIXELS if keyword not in header]:
        raise InputError(
            f"{file}: its header has no {', '.join(missing)}, without which its pixels cannot be read. Export the "
            "series again."
        )
    try:
        return header.pixel_array
    except UNREADABLE as error:
        syntax = header.file_meta.TransferSyntaxUID
        if syntax.is_compressed:
            raise InputError(
                f"{file}: pixels compressed as {syntax.name} cannot be decoded: the file is damaged, or there is no "
                "decoder. Decompress the series first, for instance with `gdcmconv --raw`."
            ) from error
        raise InputError(f"{file}: its pixels cannot be read, it is truncated or damaged. Copy it again.") from error


def _numbers(
    file: Path, header: Dataset, number: int, group: str, keyword: str, count: int, default: float | None = None
) -> np.ndarray:
    """Return an attribute of a frame: from its own functional group, a shared one, or the header itself."""
    own = header.get("PerFrameFunctionalGroupsSequence", [])[number : number + 1]
    shared = header.get("SharedFunctionalGroupsSequence", [])
    attributes = next((groups[group][0] for groups in (*own, *shared) if group in groups), header)
    try:
        value = attributes.get(keyword)
        values = np.atleast_1d(np.array(default if value is None else value, float))
    except UNREADABLE:
        values = np.array([])
    if values.shape != (count,) or not np.isfinite(values).all():
        raise InputError(
            f"{file}: its header has no valid {keyword}; expected {count} numbers. Export the series again."
        )
    return values


def _part(header: Dataset, number: int) -> str:
    """Return the part of the complex signal that a frame shows, a value of `PARTS`; by default magnitude."""
    own = header.get("PerFrameFunctionalGroupsSequence", [])[number : number + 1]
    shared = header.get("SharedFunctionalGroupsSequence", [])
    words: list[str] = []
    for groups in (*own, *shared):
        for kind in groups.get("MRImageFrameTypeSequence") or []:
            words += [str(kind.get("ComplexImageComponent") or ""), *_words(kind.get("FrameType"))[2:]]
    words += [str(header.get("ComplexImageComponent") or ""), *_words(header.get("ImageType"))[2:]]
    parts = [PARTS[first] for word in words if (first := re.split("[_ ]", word.upper())[0]) in PARTS]
    if not parts and GE_PART in header and str(header[GE_PART].value) in ("0", "1", "2", "3"):
        return GE_PARTS[int(str(header[GE_PART].value))]
    return parts[0] if parts else MAGNITUDE


def _words(value: object) -> list[str]:
    """Return the values of an attribute as a list; an attribute may have none, one or several."""
    if value is None:
        return []
    return [str(word) for word in ([value] if isinstance(value, str) or not isinstance(value, Sequence) else value)]


def _choose_part(frames: dict[Path, list[_Frame]]) -> list[str]:
    """Keep only the magnitude images if they are a whole stack beside images of other parts; return notes.

    Raises InputError if the slices show several parts of the signal and the magnitude images are not a whole stack.
    """
    everything = [frame for of_file in frames.values() for frame in of_file]
    parts = {frame.part for frame in everything}
    if len(parts) < 2:
        return [f"images of the signal's {part}" for part in parts - {MAGNITUDE}]
    first = everything[0]
    other = next(frame for frame in everything if frame.part != first.part)

    def places(of: list[_Frame]) -> set[tuple[float, ...]]:
        return {tuple(np.rint(frame.position / POSITION_TOLERANCE_MM)) for frame in of}

    magnitude = [frame for frame in everything if frame.part == MAGNITUDE]
    if places(magnitude) != places(everything):
        raise InputError(
            f"{other.file}: is of the signal's {other.part} by its ImageType, {first.file} of its {first.part}; "
            "expected images of one kind. Copy the magnitude images into a folder of their own."
        )
    for file, of_file in list(frames.items()):
        frames[file] = [frame for frame in of_file if frame.part == MAGNITUDE]
        if not frames[file]:
            del frames[file]
        elif len(frames[file]) < len(of_file):
            raise InputError(
                f"{file}: holds frames of the signal's {' and '.join(sorted(parts))}; expected images of one kind. "
                "Export the magnitude images alone."
            )
    return [f"images of the signal's {part} are passed over" for part in sorted(parts - {MAGNITUDE})]


def _check_shared(headers: dict[Path, Dataset]) -> None:
    """Raise InputError if files are not of one examination and sequence."""
    (first, reference), *others = headers.items()
    for file, header in others:
        for name, tolerance in SHARED.items():
            if not _alike(reference.get(name), header.get(name), tolerance):
                shown = "" if name in OF_A_PERSON else f", {_shown(header, name)} and {_shown(reference, name)}"
                raise InputError(
                    f"{file}: its {name} differs from that of {first}{shown}; expected images of one series. Copy "
                    "those of the short-axis series into a folder of their own."
                )


def _differences(headers: Sequence[Dataset]) -> list[str]:
    """Return a note for each attribute of `NOTED` that differs in more than numbers. Breath-holds differ in numbers."""
    values = {name: {re.sub(r"[0-9]+", "", _shown(header, name)) for header in headers} for name in NOTED}
    return [f"{name} differs between its files: images of several series?" for name in NOTED if len(values[name]) > 1]


def _alike(one: object, other: object, tolerance: float = 0) -> bool:
    """Whether two values of an attribute can belong to one series. A missing value can belong to any."""
    if one in (None, "") or other in (None, "") or _words(one) == _words(other):
        return True
    try:
        return tolerance > 0 and bool(np.isclose(float(str(one)), float(str(other)), rtol=tolerance))
    except ValueError:
        return False


def _shown(header: Dataset, name: str) -> str:
    return "".join(letter for letter in "/".join(_words(header.get(name))) if letter.isprintable())


def _source(header: Dataset, frames: Sequence[_Frame], first: _Frame, slice_spacing: float) -> Dataset:
    """Return the attributes that a segmentation needs from a file's header, in one form for all scanners.

    Matrix, orientation and spacing are those of `first`, because all frames share them.
    """
    source = Dataset()
    for name in IDENTIFIERS:
        if header.get(name):
            setattr(source, name, header[name].value)
    source.SpecificCharacterSet = "ISO_IR 192"  # UTF-8 holds names in any script
    for name, check in PATIENT_AND_STUDY.items():
        value = str(header.get(name) or "")
        try:
            check(value)
        except ValueError:
            value = ""
        setattr(source, name, value)
    source.Rows, source.Columns = first.image.shape
    orientation = PlaneOrientationSequence("PATIENT", first.directions.ravel().tolist())
    measures = PixelMeasuresSequence(first.spacing.tolist(), slice_spacing, slice_spacing)
    positions = [PlanePositionSequence("PATIENT", frame.position.tolist()) for frame in frames]
    if "PerFrameFunctionalGroupsSequence" in header:
        source.NumberOfFrames = len(frames)
        shared = Dataset()
        shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = orientation, measures
        source.SharedFunctionalGroupsSequence = [shared]
        source.PerFrameFunctionalGroupsSequence = []
        for position in positions:
            own = Dataset()
            own.PlanePositionSequence = position
            source.PerFrameFunctionalGroupsSequence.append(own)
    else:
        for group in (orientation, measures, positions[0]):
            source.update(group[0])
    return source


def _stack(path: Path, frames: Sequence[_Frame]) -> tuple[list[int], np.ndarray]:
    """Return the order of the frames along their normal, and the affine (RAS) of the stack."""
    first = frames[0]
    for frame in frames[1:]:
        for name, equal in (
            ("matrix", frame.image.shape == first.image.shape),
            ("orientation", np.allclose(frame.directions, first.directions, atol=DIRECTION_TOLERANCE)),
            ("pixel spacing", np.allclose(frame.spacing, first.spacing, rtol=DIRECTION_TOLERANCE)),
            ("frame of reference", _alike(frame.frame_of_reference, first.frame_of_reference)),
        ):
            if not equal:
                raise InputError(
                    f"{frame.file}: its {name} differs from that of {first.file}; expected one stack of parallel "
                    "slices. Name the folder of the short-axis series alone."
                )
    if len(frames) < 2:
        raise InputError(f"{path}: holds one image; expected a stack of slices. Name the folder of the whole series.")
    normal = np.cross(*first.directions)
    heights = np.array([frame.position @ normal for frame in frames])
    order = np.argsort(heights, kind="stable").tolist()
    gaps = np.diff(heights[order])
    if gaps.min() < POSITION_TOLERANCE_MM:
        positions = 1 + int((gaps >= POSITION_TOLERANCE_MM).sum())
        raise InputError(
            f"{path}: holds {len(frames)} images at {positions} slice positions; expected one at each. Copy the images "
            "of one phase, echo and reconstruction into a folder of their own."
        )
    widest = int(gaps.argmax())
    usual = np.sort(gaps)[(len(gaps) - 1) // 2]  # of two, the smaller one
    if gaps[widest] > 1.5 * usual:
        below, above = (frames[index].file for index in order[widest : widest + 2])
        raise InputError(
            f"{path}: slices are {usual:.3g} mm apart but {gaps[widest]:.3g} mm between {below} and {above}, "
            "one is missing. Copy or export the series again."
        )
    bottom = frames[order[0]]
    step = normal * gaps.mean()
    regular = bottom.position + np.arange(len(frames))[:, None] * step
    off = np.linalg.norm([frames[index].position for index in order] - regular, axis=1).max()
    if off > POSITION_TOLERANCE_MM:
        raise InputError(
            f"{path}: slices lie up to {off:.2g} mm off an evenly spaced, straight stack. Resample the series to one."
        )
    affine = np.eye(4)
    affine[:3] = np.stack(
        (bottom.directions[0] * bottom.spacing[1], bottom.directions[1] * bottom.spacing[0], step, bottom.position),
        axis=1,
    )
    return order, LPS_TO_RAS @ affine

"""Volumes: short-axis stacks read from and written to NIfTI with their true geometry.

Arrays are (z, y, x). Spacing is in mm, in the same order. An affine maps the array index (x, y, z) to scanner
coordinates in mm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cardioseg.core import files, nifti
from cardioseg.core.errors import InputError
from cardioseg.core.nifti import nib

MAXIMAL_NON_FINITE_FRACTION = 0.5
# Pixels of a short-axis image are no smaller, and its slices no further apart.
SMALLEST_MM, LARGEST_MM = 0.2, 50
# Two grids are one if no corner of theirs lies further apart, in parts of the smallest voxel size.
GRID_TOLERANCE = 0.5
# An array with fewer different values holds labels, not an image.
MINIMAL_GREY_VALUES = 16
GEOMETRY_FIELDS = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)
FORMS_DISAGREE = "sform and qform disagree; the sform is used"
UNIT_SFORM = "the sform has no voxel sizes; the qform is used"
ELSEWHERE = "labels' position or direction differs from the image's; the image's is used"
NO_GEOMETRY = "neither sform nor qform set: geometry from the voxel sizes alone"
BACKGROUND = "background"
# What no structure may be called: tables and figures name the average over the structures beside them.
RESERVED = (BACKGROUND, "AVG", "mean")
# Values in a label file by structure, in the order of the networks' classes; see `read_labels`.
Codes = Mapping[str, int | Sequence[int]]
# Labels stored as scaled integers differ from their codes by less than this.
CODE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Volume:
    """An image or label map with its place in the scanner.

    Attributes
    ----------
    array : ndarray of shape (z, y, x) or (channels, z, y, x)
        The voxels.
    affine : ndarray of shape (4, 4)
        From the index (x, y, z) to scanner coordinates in mm.
    notes : tuple of str
        What is odd about the file it was read from, but usable.
    """

    array: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = field(default=())

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, (z, y, x)."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)


def read_image(path: Path | str) -> Volume:
    """Read an intensity image.

    The slices may lie on any axis of the file. The geometry is the sform's where there is one; a qform that disagrees
    is noted. Where an sform has no voxel sizes, the qform is used, and that is noted. Voxels that are not finite become
    the smallest finite value, and are noted.

    Parameters
    ----------
    path : Path or str
        A NIfTI file.

    Returns
    -------
    Volume
        The image as float32 (z, y, x).

    Raises
    ------
    InputError
        The file is not a readable 3-D NIfTI image of a short-axis stack, or it holds a constant or labels.
    """
    path = Path(path)
    image = nifti.open_image(path)
    nifti.check_header(path, image)
    stored = nifti.voxels(path, image)
    if stored.dtype.kind not in "iuf":
        raise InputError(
            f"{path}: voxels are of type {stored.dtype}; expected real numbers. Convert the image to grey values."
        )
    with np.errstate(over="ignore"):
        array = stored.astype(np.float32)
    notes = []
    finite = np.isfinite(array)
    bad = array.size - int(finite.sum())
    if bad > MAXIMAL_NON_FINITE_FRACTION * array.size:
        raise InputError(f"{path}: {bad} of {array.size} voxels are NaN or infinite. Export the image again.")
    if bad:
        array = np.where(finite, array, array[finite].min())
        notes.append(f"{bad} voxels NaN or infinite, set to the minimum")
    array, affine = _slices_first(array, nifti.affine(path, image))
    check_short_axis(path, array, Volume(array, affine).spacing)
    _check_grey_values(path, array)
    if nifti.has_unit_sform(image):
        notes.append(UNIT_SFORM)
    elif not nifti.forms_agree(image):
        notes.append(FORMS_DISAGREE)
    if nifti.is_unplaced(image):
        notes.append(NO_GEOMETRY)
    return Volume(array, affine, tuple(notes))


def read_labels(path: Path | str, codes: Codes, image: Volume | None = None) -> Volume:
    """Read a label map.

    Where its affine differs from the image's, two cases are told apart, and both are noted. If the labels' own affine
    puts them on the image's grid with axes turned or flipped, they are turned back. Otherwise the array stays as it is
    and takes the image's affine, because files exist whose arrays agree while their affines do not.

    Parameters
    ----------
    path : Path or str
        A NIfTI file.
    codes : mapping of str to int or sequence of int
        The value, or the values, of each structure in the file; 0 is background, and so are the values of `BACKGROUND`,
        which may come last.
    image : Volume, optional
        The image that the labels belong to. They must have its shape and spacing. Without it the labels' own header
        must be sound.

    Returns
    -------
    Volume
        Labels as uint8 (z, y, x): 0 is background, and 1, 2, ... are the structures in the order of `codes`.

    Raises
    ------
    InputError
        The file cannot be read, a value is not a code, or the labels do not fit the image; or, without an image, the
        header contradicts itself or its voxel sizes are implausible.
    """
    path = Path(path)
    stored_image = nifti.open_image(path)
    stored = nifti.voxels(path, stored_image)
    if stored.dtype.kind not in "iuf":
        raise InputError(f"{path}: labels are of type {stored.dtype}; expected numbers.")
    # Only the foreground is sorted, because most of a label volume is background.
    foreground = stored != 0
    values, inverse = np.unique(stored[foreground], return_inverse=True)
    pairs = [(value, label, name) for label, name in enumerate(codes, start=1) for value in _listed(codes[name])]
    known = np.array([0, *(value for value, _, _ in pairs)])
    labels_of = np.array([0, *(0 if name == BACKGROUND else label for _, label, name in pairs)], np.uint8)
    nearest = np.abs(values.astype(float)[:, None] - known).argmin(axis=1)
    unexpected = values[~(np.abs(values - known[nearest]) < CODE_TOLERANCE)].tolist()
    if unexpected:
        shown = ", ".join(f"{value:g}" for value in unexpected[:5])
        expected = ", ".join(["0 (background)"] + [f"{value} ({name})" for value, _, name in pairs])
        raise InputError(
            f"{path}: label value {shown} is not expected; expected {expected}. Correct the file or the codes "
            "(cohort.structures; --structures of `cardioseg evaluate`)."
        )
    labels = np.zeros(stored.shape, np.uint8)
    labels[foreground] = labels_of[nearest][inverse]
    array, affine = _slices_first(labels, nifti.affine(path, stored_image))
    if image is None:
        nifti.check_header(path, stored_image)
        sizes = Volume(array, affine).spacing
        # They need not be labels of short-axis slices, but metres and micrometres are mistakes.
        if not SMALLEST_MM <= round(min(sizes), 3) <= round(max(sizes), 3) <= LARGEST_MM:
            raise InputError(
                f"{path}: voxels of {nifti.in_mm(sizes)} (z, y, x); expected {SMALLEST_MM} to {LARGEST_MM} mm. "
                "Correct the header."
            )
        return Volume(array, affine)
    notes = []
    if not _same_grid(affine, array.shape, image):
        array, affine = _turned(array, affine, image)
        if _same_grid(affine, array.shape, image):
            notes.append("labels' axes turned to the image's")
        else:
            notes.append(ELSEWHERE)
    if array.shape != image.array.shape:
        raise InputError(
            f"{path}: shape {array.shape} (z, y, x) differs from {image.array.shape}, that of its image or "
            "manual mask; expected one grid."
        )
    sizes = Volume(array, affine).spacing
    if not np.allclose(sizes, image.spacing, rtol=nifti.SPACING_TOLERANCE):
        raise InputError(
            f"{path}: voxels of {nifti.in_mm(sizes)} (z, y, x) differ from {nifti.in_mm(image.spacing)}, those of its "
            "image or manual mask. Correct the header."
        )
    return Volume(array, image.affine, tuple(notes))


def structures(codes: Codes) -> list[str]:
    """Return the names of the structures that have codes, in the order of the networks' classes.

    Parameters
    ----------
    codes : mapping of str to int or sequence of int
        The values that label files have for each structure, and for `background`.

    Returns
    -------
    list of str
        The names.
    """
    return [name for name in codes if name != BACKGROUND]


def unlabelled(codes: Codes) -> list[str]:
    """Return the names of the structures that label files do not have.

    Parameters
    ----------
    codes : mapping of str to int or sequence of int
        As for `structures`.

    Returns
    -------
    list of str
        The structures without a value, in the order of the networks' classes.
    """
    return [name for name in structures(codes) if not _listed(codes[name])]


def _listed(value: int | Sequence[int]) -> Sequence[int]:
    return [value] if isinstance(value, int) else value


def read_grid(path: Path | str) -> Volume:
    """Read the grid of an image, without its voxels.

    Parameters
    ----------
    path : Path or str
        The NIfTI file of an image that can be read, see `read_image`.

    Returns
    -------
    Volume
        As of `grid_of`.

    Raises
    ------
    InputError
        The file cannot be read, or its geometry cannot be used.
    """
    path = Path(path)
    image = nifti.open_image(path)
    shape = nifti.trimmed(image.shape)[::-1]
    zeros = np.moveaxis(np.broadcast_to(np.uint8(0), shape), _slice_axis(shape), 0)
    notes = (NO_GEOMETRY,) if nifti.is_unplaced(image) else ()
    return Volume(zeros, nifti.affine(path, image)[:, _columns(shape)], notes)


def grid_of(image: Volume) -> Volume:
    """Return the grid of an image that was read.

    Parameters
    ----------
    image : Volume
        The image.

    Returns
    -------
    Volume
        Zeros on the grid of the image, which take no memory. Of the notes `NO_GEOMETRY` alone is kept.
    """
    zeros = np.broadcast_to(np.uint8(0), image.array.shape)
    return Volume(zeros, image.affine, tuple(note for note in image.notes if note == NO_GEOMETRY))


def read(path: Path | str) -> Volume:
    """Read a volume that this package wrote.

    Parameters
    ----------
    path : Path or str
        The NIfTI file.

    Returns
    -------
    Volume
        The array as stored, (z, y, x), or (channels, z, y, x) if the file is 4-D; float64 becomes float32.

    Raises
    ------
    InputError
        The file is missing or damaged.
    """
    path = Path(path)
    image = nifti.open_image(path, dimensions=(3, 4))
    array = nifti.voxels(path, image)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return Volume(np.ascontiguousarray(array), image.affine)


def as_stored(volume: Volume) -> Volume:
    """Return a float32 volume as `read` would give it after `write`: NIfTI keeps affines in single precision.

    Parameters
    ----------
    volume : Volume
        The volume.

    Returns
    -------
    Volume
        The same array, with the affine rounded to single precision.
    """
    return Volume(volume.array, volume.affine.astype(np.float32).astype(np.float64))


def write(path: Path | str, array: np.ndarray, affine: np.ndarray) -> None:
    """Write a volume to NIfTI, completely or not at all. The same content gives the same bytes.

    Parameters
    ----------
    path : Path or str
        A name that ends in .nii or .nii.gz.
    array : ndarray of shape (z, y, x) or (channels, z, y, x)
        The voxels.
    affine : ndarray of shape (4, 4)
        From the index (x, y, z) to scanner coordinates in mm.
    """
    image = nib.nifti1.Nifti1Image(np.ascontiguousarray(array.T), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    files.write_bytes(Path(path), image.to_bytes())


def write_labels_like(path: Path | str, labels: np.ndarray, codes: Mapping[str, int], original: Path | str) -> None:
    """Write labels in the exact grid of another file, with the codes of that file's cohort.

    Axis order, shape, affine, sform and qform are the original's. No other field of its header is copied.

    Parameters
    ----------
    path : Path or str
        The file to write.
    labels : ndarray of uint8, shape (z, y, x)
        0 is background, and 1, 2, ... are the structures in the order of `codes`.
    codes : mapping of str to int
        The value of each structure in the file.
    original : Path or str
        The file whose grid is taken.

    Raises
    ------
    InputError
        The original cannot be read, or its shape is another.
    """
    write_like(path, encoded(labels, codes), original)


def encoded(labels: np.ndarray, codes: Mapping[str, int]) -> np.ndarray:
    """Replace labels by their codes.

    Parameters
    ----------
    labels : ndarray of uint8
        0 is background, and 1, 2, ... are the structures in the order of `codes`.
    codes : mapping of str to int
        The code of each structure.

    Returns
    -------
    ndarray of int16 or int32
        The codes; int32 if a code does not fit into int16.
    """
    lookup = np.array([0, *codes.values()], np.int32)
    return lookup[labels].astype(np.int16 if lookup.max() < 2**15 else np.int32)


def write_like(path: Path | str, array: np.ndarray, original: Path | str) -> None:
    """Write an array in the exact grid of another file (see `write_labels_like`).

    Parameters
    ----------
    path : Path or str
        The file to write.
    array : ndarray of shape (z, y, x)
        The voxels.
    original : Path or str
        The file whose grid is taken.

    Raises
    ------
    InputError
        The original cannot be read, or its shape is another.
    """
    source = nifti.open_image(Path(original))
    stored = np.moveaxis(array, 0, _slice_axis(source.shape[2::-1])).T
    if stored.shape != source.shape[:3]:
        raise InputError(
            f"{original}: its shape {source.shape} is not that of the labels, {stored.shape}; expected the same."
        )
    stored = stored.reshape(source.shape)
    # The version of NIfTI is the original's, because NIfTI-2 holds geometry in double precision.
    image = type(source)(stored, source.affine)
    image.header["pixdim"][:4] = source.header["pixdim"][:4]
    for name in GEOMETRY_FIELDS:
        image.header[name] = source.header[name]
    files.write_bytes(Path(path), image.to_bytes())


def check_short_axis(path: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Refuse an array that cannot be a short-axis image.

    Parameters
    ----------
    path : Path
        The file to name in the error.
    array : ndarray of shape (z, y, x)
        The image.
    spacing : tuple of float
        Voxel size in mm, (z, y, x).

    Raises
    ------
    InputError
        The image is constant, or its matrix, pixels or slice distance are implausible.
    """
    if array.min() == array.max():
        raise InputError(f"{path}: every voxel is {array.min():g}; expected an image. Export the image again.")
    _, rows, columns = array.shape
    thickness, height, width = spacing
    if min(rows, columns) < 32 or max(rows, columns) > 4 * min(rows, columns):
        raise InputError(
            f"{path}: slices of {rows} x {columns} pixels; expected short-axis slices of at least 32 x 32."
        )
    # Headers hold rounded numbers.
    shorter, longer = (round(size, 3) for size in sorted((height, width)))
    if not SMALLEST_MM <= shorter <= longer <= 5 or longer > 1.5 * shorter:
        raise InputError(
            f"{path}: pixels of {height:.3g} x {width:.3g} mm; expected nearly square pixels of {SMALLEST_MM} to 5 mm."
        )
    if not 1 <= round(thickness, 3) <= LARGEST_MM or thickness < 0.9 * shorter:
        raise InputError(
            f"{path}: slices {thickness:.3g} mm apart; expected a short-axis stack with 1 to {LARGEST_MM} mm between "
            "slices."
        )


def check_spacing(spacing: tuple[float, float, float]) -> None:
    """Refuse a spacing that no volume can have.

    Parameters
    ----------
    spacing : tuple of float
        Voxel size in mm, (z, y, x).

    Raises
    ------
    InputError
        It is not three positive numbers.
    """
    if len(spacing) != 3 or not all(np.isfinite(size) and size > 0 for size in spacing):
        raise InputError(f"The spacing must be three positive numbers (z, y, x) in mm, not {spacing}.")


def _check_grey_values(path: Path, array: np.ndarray) -> None:
    # Every fourth pixel is enough.
    array = array[:, ::4, ::4]
    low, high = np.percentile(array, (1, 99))
    if low == high:
        raise InputError(f"{path}: nearly every voxel is {low:g}; expected an image. Export the image again.")
    # Of most images a single slice has enough.
    if not any(len(np.unique(part)) >= MINIMAL_GREY_VALUES for part in (*array, array)):
        raise InputError(
            f"{path}: has {len(np.unique(array))} different values; expected an image in grey values, not labels. "
            "Name the image; in a workflow, correct the file or the configuration's patterns."
        )


def _slice_axis(shape: tuple[int, ...]) -> int:
    """Return the axis of an array (z, y, x as stored) that runs across the slices: the first of the shortest."""
    return int(np.argmin(shape))


def _columns(shape: tuple[int, ...]) -> list[int]:
    """Return the order of an affine's columns x, y, z and origin once the slice axis of the array is z."""
    axis = _slice_axis(shape)
    return [2 - index for index in (2, 1, 0) if index != axis] + [2 - axis, 3]


def _slices_first(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the slice axis to the front of an array (z, y, x as stored), the affine with it."""
    return np.ascontiguousarray(np.moveaxis(array, _slice_axis(array.shape), 0)), affine[:, _columns(array.shape)]


def _same_grid(affine: np.ndarray, shape: tuple[int, ...], image: Volume) -> bool:
    """Whether an affine puts the corners of an array (z, y, x) within half a voxel of where the image's puts them."""
    corners = nifti.corners(np.subtract(shape[::-1], 1))
    distances = np.linalg.norm((corners @ (affine - image.affine).T)[:, :3], axis=1)
    return bool(distances.max() <= GRID_TOLERANCE * min(image.spacing))


def _turned(array: np.ndarray, affine: np.ndarray, image: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Turn and flip the axes of labels (z, y, x) if that alone gives them the image's affine; else change nothing."""
    turn = nib.io_orientation(np.linalg.inv(image.affine) @ affine)
    turned = nib.apply_orientation(array.T, turn).T
    turned_affine = affine @ nib.orientations.inv_ornt_aff(turn, array.shape[::-1])
    if not _same_grid(turned_affine, turned.shape, image):
        return array, affine
    return np.ascontiguousarray(turned), turned_affine

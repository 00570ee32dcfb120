"""Volumes: short-axis stacks read from and written to NIfTI with their true geometry.

Arrays are (z, y, x); spacing is in mm in the same order; an affine maps the array index (x, y, z) to scanner mm.
"""

import gzip
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cardioseg.core import files
from cardioseg.core.errors import InputError

# nibabel loads pydicom where it is installed, for DICOM headers inside NIfTI, which nothing here reads. That costs
# every job a quarter of a second, so pydicom is hidden while nibabel is imported.
_PYDICOM = sys.modules.setdefault("pydicom", None)  # type: ignore[arg-type]
import nibabel as nib  # noqa: E402

if _PYDICOM is None:
    del sys.modules["pydicom"]

MAXIMAL_NON_FINITE_FRACTION = 0.5
SPACING_TOLERANCE = 0.01
# Fewer different values are labels, not an image.
MINIMAL_GREY_VALUES = 16
# Distance from the scanner's centre beyond which single precision no longer places slices.
MAXIMAL_DISTANCE_MM = 10_000
GEOMETRY_FIELDS = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)
# nibabel's errors for a file that is no NIfTI, is damaged, or promises more than it holds.
UNREADABLE = (
    *(nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError),
    *(OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError),
)
NO_GEOMETRY = "neither sform nor qform set: geometry from the voxel sizes alone"
# Labels stored as scaled integers come back this close to their codes.
CODE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Volume:
    """An array (z, y, x) or (channels, z, y, x), its 4 x 4 affine from index (x, y, z) to mm, and its oddities."""

    array: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = field(default=())

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, (z, y, x)."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)


def read_image(path: Path | str) -> Volume:
    """Read an intensity image as float32 (z, y, x), whichever of the file's axes the slices lie on.

    Geometry is the sform's where there is one; a qform that disagrees is noted. Non-finite voxels become the smallest
    finite value and are noted. Raises InputError for a file that is no readable 3-D NIfTI image of a short-axis stack,
    or that holds a constant or labels.
    """
    path = Path(path)
    image = _open(path)
    _check_header(path, image)
    stored = _data(path, image)
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
    array, affine = _slices_first(path, array, _affine(path, image))
    check_short_axis(path, array, Volume(array, affine).spacing)
    _check_grey_values(path, array)
    if not _forms_agree(image):
        notes.append("sform and qform disagree; the sform is used")
    if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
        notes.append(NO_GEOMETRY)
    return Volume(array, affine, tuple(notes))


def read_labels(path: Path | str, codes: Mapping[str, int], image: Volume | None = None) -> Volume:
    """Read a label volume as uint8 (z, y, x): 0 background, 1, 2, ... the structures in the order of `codes`.

    codes: the file's value for each structure; 0 is background. With `image` given the labels must have its shape and
    spacing and take its affine. Where the affines differ, labels whose own puts them on the image's grid, with axes
    turned or flipped, are turned back; others stay as they are (such files exist whose arrays agree). Both are noted.
    Raises InputError for a value that is no code, or labels that do not fit the image.
    """
    path = Path(path)
    stored_image = _open(path)
    stored = _data(path, stored_image)
    if stored.dtype.kind not in "iuf":
        raise InputError(f"{path}: labels are of type {stored.dtype}; expected numbers.")
    # Most of a label volume is background, which needs no sorting.
    foreground = stored != 0
    values, inverse = np.unique(stored[foreground], return_inverse=True)
    known = np.array([0, *codes.values()])
    nearest = np.abs(values.astype(float)[:, None] - known).argmin(axis=1)
    unexpected = values[~(np.abs(values - known[nearest]) < CODE_TOLERANCE)].tolist()
    if unexpected:
        shown = ", ".join(f"{value:g}" for value in unexpected[:5])
        expected = ", ".join(["0 (background)"] + [f"{code} ({name})" for name, code in codes.items()])
        raise InputError(
            f"{path}: label value {shown} is not expected; expected {expected}. Mend the file or cohort.structures."
        )
    labels = np.zeros(stored.shape, np.uint8)
    labels[foreground] = nearest[inverse]
    array, affine = _slices_first(path, labels, _affine(path, stored_image))
    if image is None:
        return Volume(array, affine)
    notes = []
    if not _same_grid(affine, image):
        array, affine = _turned(array, affine, image)
        if _same_grid(affine, image):
            notes.append("labels' axes turned to the image's")
        else:
            notes.append("labels' position or direction differs from the image's; the image's is used")
    if array.shape != image.array.shape:
        raise InputError(
            f"{path}: shape {array.shape} (z, y, x) differs from its image's {image.array.shape}; expected one grid."
        )
    if not np.allclose(Volume(array, affine).spacing, image.spacing, rtol=SPACING_TOLERANCE):
        own, expected = (
            " x ".join(f"{mm:.3g}" for mm in sizes) for sizes in (Volume(array, affine).spacing, image.spacing)
        )
        raise InputError(
            f"{path}: voxels of {own} mm (z, y, x) differ from its image's {expected} mm. Mend the header."
        )
    return Volume(array, image.affine, tuple(notes))


def stored_affine(path: Path | str) -> np.ndarray | None:
    """Affine from index (x, y, z; slices last) to mm as a file's header has it; None without sform and qform."""
    image = _open(Path(path))
    if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
        return None
    return image.affine[:, _columns(image.shape[::-1])]


def read(path: Path | str) -> Volume:
    """Read a volume that this package wrote: (z, y, x), or (channels, z, y, x) of a 4-D file, dtype as stored."""
    path = Path(path)
    image = _open(path, dimensions=(3, 4))
    array = _data(path, image)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return Volume(np.ascontiguousarray(array), image.affine)


def as_stored(volume: Volume) -> Volume:
    """A float32 volume as `read` gives it back after `write`: NIfTI holds affines in single precision."""
    return Volume(volume.array, volume.affine.astype(np.float32).astype(np.float64))


def write(path: Path | str, array: np.ndarray, affine: np.ndarray) -> None:
    """Write (z, y, x) or (channels, z, y, x) to NIfTI: complete or not at all, the same bytes for the same content."""
    image = nib.nifti1.Nifti1Image(np.ascontiguousarray(array.T), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    write_bytes(Path(path), image.to_bytes())


def write_labels_like(path: Path | str, labels: np.ndarray, codes: Mapping[str, int], original: Path | str) -> None:
    """Write labels (z, y, x; 1, 2, ... as in `codes`) in the exact grid of the file `original`, with the file's codes.

    Axis order, shape, affine, sform and qform are the original's; none of its other header fields is copied.
    """
    write_like(path, encoded(labels, codes), original)


def encoded(labels: np.ndarray, codes: Mapping[str, int]) -> np.ndarray:
    """Labels (1, 2, ... as in `codes`) as their codes, int16 or, where one is larger, int32."""
    lookup = np.array([0, *codes.values()], np.int32)
    return lookup[labels].astype(np.int16 if lookup.max() < 2**15 else np.int32)


def write_like(path: Path | str, array: np.ndarray, original: Path | str) -> None:
    """Write an array (z, y, x) in the exact grid of the file `original`: see `write_labels_like`."""
    source = _open(Path(original))
    stored = np.moveaxis(array, 0, _slice_axis(source.shape[::-1])).T
    if stored.shape != source.shape:
        raise InputError(f"{original}: its shape {source.shape} is not that of the labels, {stored.shape}.")
    # The same version of NIfTI as the original: NIfTI-2 holds geometry in double precision.
    image = type(source)(stored, source.affine)
    image.header["pixdim"][:4] = source.header["pixdim"][:4]
    for name in GEOMETRY_FIELDS:
        image.header[name] = source.header[name]
    write_bytes(Path(path), image.to_bytes())


def check_short_axis(path: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Raise InputError, naming the path, unless an array and its spacing (mm; z, y, x) may be a short-axis image."""
    if array.min() == array.max():
        raise InputError(f"{path}: every voxel is {array.min():g}; expected an image. Export the image again.")
    _, rows, columns = array.shape
    thickness, height, width = spacing
    if min(rows, columns) < 32 or max(rows, columns) > 4 * min(rows, columns):
        raise InputError(
            f"{path}: slices of {rows} x {columns} pixels; expected short-axis slices of at least 32 x 32."
        )
    if not 0.2 <= min(height, width) <= max(height, width) <= 5 or max(height, width) > 1.5 * min(height, width):
        raise InputError(
            f"{path}: pixels of {height:.3g} x {width:.3g} mm; expected nearly square pixels of 0.2 to 5 mm."
        )
    if not 1 <= thickness <= 50 or thickness < 0.9 * min(height, width):
        raise InputError(
            f"{path}: slices {thickness:.3g} mm apart; expected a short-axis stack with 1 to 50 mm between slices."
        )


def write_bytes(path: Path, content: bytes) -> None:
    """Write all or nothing; a .gz name is compressed without a time stamp."""
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=1, mtime=0)
    with files.atomic_write(path) as file:
        file.write(content)


def _open(path: Path, dimensions: tuple[int, ...] = (3,)) -> nib.nifti1.Nifti1Image:
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        path.open("rb").close()
        image = nib.load(path)
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it. Ask its owner, or change its permissions.") from error
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as NIfTI ({error}). Download or export the file again.") from error
    if not isinstance(image, nib.nifti1.Nifti1Image):
        raise InputError(f"{path}: is {type(image).__name__}; expected NIfTI (.nii or .nii.gz). Convert the file.")
    if image.ndim not in dimensions:
        raise InputError(
            f"{path}: has {image.ndim} dimensions {image.shape}; expected one 3-D stack of short-axis slices."
        )
    if min(image.shape) < 1:
        raise InputError(
            f"{path}: has no voxels, its shape is {image.shape}; expected a stack of slices. Export the file again."
        )
    return image


def _data(path: Path, image: nib.nifti1.Nifti1Image) -> np.ndarray:
    """Return the scaled voxels (z, y, x) as the file orders them."""
    try:
        if path.suffix == ".gz":
            # nibabel would stop before the checksum at the end, which alone tells of damaged voxels.
            with gzip.open(path) as stream:
                image = type(image).from_bytes(stream.read())
        array = np.asanyarray(image.dataobj)
    except UNREADABLE as error:
        reason = " ".join(str(error).split()) or "more voxels than memory holds"
        raise InputError(
            f"{path}: voxels cannot be read, the file is truncated or damaged ({reason}). Download it again."
        ) from error
    return array.T


def _affine(path: Path, image: nib.nifti1.Nifti1Image) -> np.ndarray:
    affine = image.affine
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not sizes.all() or abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-3:
        raise InputError(
            f"{path}: its affine is singular or not finite; expected voxel sizes above 0 mm. Mend the header."
        )
    directions = affine[:3, :3] / sizes
    if np.abs(directions.T @ directions - np.eye(3)).max() > 0.02:
        raise InputError(
            f"{path}: its axes are not perpendicular (sheared affine). Resample the image to a straight grid."
        )
    return affine


def _check_header(path: Path, image: nib.nifti1.Nifti1Image) -> None:
    """Voxel sizes as the file has them (nibabel mends those of 0 and below in what it returns), and the origin."""
    with nib.openers.ImageOpener(str(path)) as file:
        sizes = image.header_class.from_fileobj(file, check=False)["pixdim"][1:4].astype(float)
    affine = _affine(path, image)
    own = np.linalg.norm(affine[:3, :3], axis=0)
    if image.header["sform_code"] == 0 and not (sizes > 0).all():
        raise InputError(f"{path}: voxels of {_in_mm(sizes)}; expected sizes above 0 mm. Mend the header.")
    if not np.allclose(abs(sizes), own, rtol=SPACING_TOLERANCE):
        raise InputError(
            f"{path}: voxels are of {_in_mm(sizes)} by its pixdim, of {_in_mm(own)} by its sform; expected one size. "
            "Mend the header."
        )
    if np.abs(affine[:3, 3]).max() > MAXIMAL_DISTANCE_MM:
        raise InputError(
            f"{path}: its origin lies {np.abs(affine[:3, 3]).max():.3g} mm from the scanner's centre; expected at most "
            f"{MAXIMAL_DISTANCE_MM} mm. Mend the header."
        )


def _in_mm(values: np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in values) + " mm"


def _forms_agree(image: nib.nifti1.Nifti1Image) -> bool:
    """Whether sform and qform, where there are both, place all corners within 1 mm of each other."""
    if image.header["sform_code"] == 0 or image.header["qform_code"] == 0:
        return True
    try:
        difference = image.get_sform() - image.get_qform()
    except ValueError:  # a quaternion that is no rotation
        return False
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [*image.shape, 1]
    return bool(np.abs(corners @ difference.T).max() < 1)


def _check_grey_values(path: Path, array: np.ndarray) -> None:
    # Every fourth pixel tells as much.
    array = array[:, ::4, ::4]
    low, high = np.percentile(array, (1, 99))
    if low == high:
        raise InputError(f"{path}: nearly every voxel is {low:g}; expected an image. Export the image again.")
    count = len(np.unique(array))
    if count < MINIMAL_GREY_VALUES:
        raise InputError(
            f"{path}: has {count} different values; expected an image in grey values, not labels. Correct the file or "
            "the configuration's patterns."
        )


def _slice_axis(shape: tuple[int, ...]) -> int:
    """Which axis of an array (z, y, x as stored) is the slices': the shortest, the first of equals."""
    return int(np.argmin(shape))


def _columns(shape: tuple[int, ...]) -> list[int]:
    """Columns of an affine, x, y, z and origin, once the slice axis of the array (z, y, x as stored) is z."""
    axis = _slice_axis(shape)
    return [2 - index for index in (2, 1, 0) if index != axis] + [2 - axis, 3]


def _slices_first(path: Path, array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the slice axis to the front of an array (z, y, x as stored), the affine with it."""
    return np.ascontiguousarray(np.moveaxis(array, _slice_axis(array.shape), 0)), affine[:, _columns(array.shape)]


def _same_grid(affine: np.ndarray, image: Volume) -> bool:
    return np.allclose(affine, image.affine, atol=0.1 * min(image.spacing))


def _turned(array: np.ndarray, affine: np.ndarray, image: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Turn and flip the axes of an array (z, y, x) where that alone makes its affine the image's; else leave both."""
    turn = nib.io_orientation(np.linalg.inv(image.affine) @ affine)
    turned = affine @ nib.orientations.inv_ornt_aff(turn, array.shape[::-1])
    if not _same_grid(turned, image):
        return array, affine
    return np.ascontiguousarray(nib.apply_orientation(array.T, turn).T), turned

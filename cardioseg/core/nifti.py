"""NIfTI files: opening them, and what their headers say, whatever is wrong with a file (`volumes` reads and writes)."""

import gzip
import io
import logging
import shlex
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cardioseg.core.errors import InputError
from cardioseg.core.imports import Late

if TYPE_CHECKING:
    import nibabel

    nib = nibabel
else:
    # nibabel costs a fifth of a second, and so does pydicom, which it loads for DICOM headers inside NIfTI.
    nib = Late("nibabel", without="pydicom")

# Relative; headers hold rounded numbers.
SPACING_TOLERANCE = 0.01
# Far more than any stack of short-axis slices has; what is larger would fill the memory.
MAXIMAL_VOXELS = 2**26
# What may follow the voxels in a compressed file.
MAXIMAL_REST = 2**20
# Beyond this distance from the scanner's centre, single precision cannot place slices exactly enough.
MAXIMAL_DISTANCE_MM = 10_000
SUFFIXES = (".nii.gz", ".nii")
# Other formats that SimpleITK converts.
CONVERTIBLE = (".hdr", ".img", ".mha", ".mhd", ".nhdr", ".nrrd")
# Files and archives that may hold an image, beside `SUFFIXES`.
PACKED = (".bz2", ".gz", ".xz", ".zip", ".zst")
CONVERSION = "import sys, SimpleITK; SimpleITK.WriteImage(SimpleITK.ReadImage(sys.argv[1]), sys.argv[2])"
# Threads in which nibabel's log is silent.
_SILENT: set[int] = set()


def _is_told(record: logging.LogRecord) -> bool:
    return record.thread not in _SILENT


def _unreadable() -> tuple[type[Exception], ...]:
    """nibabel's errors for a file that is not NIfTI, is damaged, or is shorter than its header says."""
    own = nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError
    return *own, OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError


@contextmanager
def _silently() -> Iterator[None]:
    """Silence what nibabel logs about damaged headers, in this thread alone: errors and notes here say what matters."""
    nib.imageglobals.logger.addFilter(_is_told)  # once, however often it is called
    # Likewise; nothing here reads extensions.
    warnings.filterwarnings("ignore", "Extension size is not a multiple of 16", UserWarning)
    _SILENT.add(threading.get_ident())
    try:
        yield
    finally:
        _SILENT.discard(threading.get_ident())


def open_image(path: Path, dimensions: tuple[int, ...] = (3,)) -> "nib.nifti1.Nifti1Image":
    """Open a file without reading its voxels.

    Parameters
    ----------
    path : Path
        The file.
    dimensions : tuple of int
        How many dimensions the image may have; those of size 1 after the third do not count.

    Returns
    -------
    Nifti1Image
        The image, of NIfTI-1 or NIfTI-2.

    Raises
    ------
    InputError
        The file is missing, may not be read or is no NIfTI file, or it has no voxels, too many or of other dimensions.
    """
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder; expected a NIfTI file (.nii or .nii.gz). Name the file, or convert DICOM to NIfTI."
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"{path}: is not NIfTI by its name; expected .nii or .nii.gz.{_conversion(path)}")
    try:
        path.open("rb").close()
        with np.errstate(invalid="ignore"), _silently():  # NaN in a header, which `affine` refuses
            image = nib.load(path)
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it. Ask its owner, or change its permissions.") from error
    except _unreadable() as error:
        raise InputError(f"{path}: cannot be read as NIfTI ({error}). {_advice(path)}") from error
    if not isinstance(image, nib.nifti1.Nifti1Image):
        raise InputError(f"{path}: is {type(image).__name__}; expected NIfTI (.nii or .nii.gz). Convert the file.")
    # (x, y, z, 1), as converters write it, is as clear as (x, y, z).
    if len(trimmed(image.shape)) not in dimensions:
        advice = "Write one phase of it to a file of its own." if image.ndim > 3 else "Export all slices as one file."
        raise InputError(
            f"{path}: has {image.ndim} dimensions {image.shape}; expected one 3-D stack of short-axis slices. {advice}"
        )
    if min(image.shape) < 1:
        raise InputError(
            f"{path}: has no voxels, its shape is {image.shape}; expected a stack of slices. Export the file again."
        )
    if np.prod(image.shape, dtype=float) > MAXIMAL_VOXELS * (1 if dimensions == (3,) else 64):
        raise InputError(
            f"{path}: has {np.prod(image.shape, dtype=float):.3g} voxels by its header, its shape is {image.shape}; "
            f"expected at most {MAXIMAL_VOXELS}, or the file is damaged."
        )
    return image


def _advice(path: Path) -> str:
    """What to do about a file that nibabel does not know: it goes by the name, and browsers unpack what they load."""
    if not any(spelling in path.name for spelling in (".nii", ".NII")):
        return "Its suffix mixes capitals with small letters: rename it to .nii or .nii.gz."
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b" and path.suffix.lower() != ".gz":
        return "It is compressed: rename it to .nii.gz."
    # NIfTI begins with the length of its header, in either order of bytes.
    if start in (struct.pack("<i", 348), struct.pack(">i", 348)) and path.suffix.lower() == ".gz":
        return "It is not compressed: rename it to .nii."
    return "Download or export the file again."


def _conversion(path: Path) -> str:
    """How to convert a file of another format, where a package that is installed anyway can."""
    if path.suffix.lower() in PACKED:
        return " Unpack it if it holds an image."
    if path.suffix.lower() not in CONVERTIBLE:
        return " Convert the image to NIfTI."
    words = [str(path), str(path.with_suffix(".nii.gz"))]
    return f" Convert it: python -c {shlex.quote(CONVERSION)} {shlex.join(words)}"


@np.errstate(invalid="ignore")
def voxels(path: Path, image: "nib.nifti1.Nifti1Image") -> np.ndarray:
    """Read the voxels.

    Parameters
    ----------
    path : Path
        The file.
    image : Nifti1Image
        As from `open_image`.

    Returns
    -------
    ndarray of shape (z, y, x) or (channels, z, y, x)
        The scaled voxels, in the order of the file's axes.

    Raises
    ------
    InputError
        The file is truncated or damaged.
    """
    try:
        if path.suffix.lower() == ".gz":
            stored: Any = image.dataobj
            layout = stored.shape, stored.dtype, stored.offset, stored.slope, stored.inter
            content = io.BytesIO(_unpacked(path, _length(image)))
            array = np.asanyarray(nib.arrayproxy.ArrayProxy(content, layout))
        else:
            array = np.asanyarray(image.dataobj)
    except _unreadable() as error:
        reason = " ".join(str(error).split()) or "more voxels than memory holds"
        raise InputError(
            f"{path}: voxels cannot be read, the file is truncated or damaged ({reason}). Download it again."
        ) from error
    return array.reshape(trimmed(array.shape)).T


def _unpacked(path: Path, length: int) -> bytes:
    """The content of a compressed file, which is read to its end: only the checksum there reveals damaged voxels."""
    if path.stat().st_size <= length + MAXIMAL_REST:
        # At once, in half the time of a stream. A stream tells what is wrong, and knows files in several parts.
        whole = zlib.decompressobj(wbits=31)
        with suppress(zlib.error):
            content = whole.decompress(path.read_bytes(), length + MAXIMAL_REST)
            if whole.eof and not whole.unused_data:
                return content
    with gzip.open(path) as stream:
        content = stream.read(length)
        if len(stream.read(MAXIMAL_REST + 1)) > MAXIMAL_REST:
            raise ValueError("more data than its header tells of")
    return content


def _length(image: "nib.nifti1.Nifti1Image") -> int:
    """Bytes of a file, uncompressed, up to the end of its voxels."""
    stored: Any = image.dataobj
    if not 0 <= stored.offset <= MAXIMAL_REST:
        raise ValueError(f"voxels that begin at byte {stored.offset}")
    return int(stored.offset + np.prod(image.shape, dtype=float) * stored.dtype.itemsize)


def trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out the sizes of 1 that follow the third.

    Parameters
    ----------
    shape : tuple of int
        The shape of an image, (x, y, z, ...).

    Returns
    -------
    tuple of int
        The shape without them.
    """
    return shape[:3] + tuple(size for size in shape[3:] if size != 1)


def affine(path: Path, image: "nib.nifti1.Nifti1Image") -> np.ndarray:
    """Return the affine: the sform's, or the qform's where there is none or it has no voxel sizes.

    Parameters
    ----------
    path : Path
        The file, for the error.
    image : Nifti1Image
        As from `open_image`.

    Returns
    -------
    ndarray of shape (4, 4)
        From the index (x, y, z) to scanner coordinates in mm.

    Raises
    ------
    InputError
        It is singular, not finite or sheared.
    """
    matrix = image.get_qform() if has_unit_sform(image) else image.affine
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all() or not sizes.all() or abs(np.linalg.det(matrix[:3, :3] / sizes)) < 1e-3:
        raise InputError(
            f"{path}: its affine is singular or not finite; expected voxel sizes above 0 mm. Correct the header."
        )
    directions = matrix[:3, :3] / sizes
    if np.abs(directions.T @ directions - np.eye(3)).max() > 0.02:
        raise InputError(
            f"{path}: its axes are not perpendicular (sheared affine). Resample the image to a straight grid."
        )
    return matrix


@np.errstate(invalid="ignore")  # NaN, which is refused
def check_header(path: Path, image: "nib.nifti1.Nifti1Image") -> None:
    """Check the origin, and the voxel sizes as stored: in what nibabel returns it corrects sizes of 0 and below.

    Parameters
    ----------
    path : Path
        The file.
    image : Nifti1Image
        As from `open_image`.

    Raises
    ------
    InputError
        The voxel sizes contradict each other or are not above 0, or the origin is implausible.
    """
    with nib.openers.ImageOpener(str(path)) as file:
        sizes = image.header_class.from_fileobj(file, check=False)["pixdim"][1:4].astype(float)
    placed = affine(path, image)
    own = np.linalg.norm(placed[:3, :3], axis=0)
    if image.header["sform_code"] == 0 and not (sizes > 0).all():
        raise InputError(f"{path}: voxels of {in_mm(sizes)}; expected sizes above 0 mm. Correct the header.")
    if not np.allclose(abs(sizes), own, rtol=SPACING_TOLERANCE):
        raise InputError(
            f"{path}: voxels are of {in_mm(sizes)} by its pixdim, of {in_mm(own)} by its sform; expected one size. "
            "Correct the header."
        )
    if np.abs(placed[:3, 3]).max() > MAXIMAL_DISTANCE_MM:
        raise InputError(
            f"{path}: its origin lies {np.abs(placed[:3, 3]).max():.3g} mm from the scanner's centre; expected at most "
            f"{MAXIMAL_DISTANCE_MM} mm. Correct the header."
        )


def is_unplaced(image: "nib.nifti1.Nifti1Image") -> bool:
    """Tell whether a header has neither sform nor qform.

    Parameters
    ----------
    image : Nifti1Image
        As from `open_image`.

    Returns
    -------
    bool
        Whether it has neither.
    """
    return bool(image.header["sform_code"] == 0 and image.header["qform_code"] == 0)


@np.errstate(invalid="ignore")
def has_unit_sform(image: "nib.nifti1.Nifti1Image") -> bool:
    """Tell whether an sform gives directions alone, all voxels of 1 mm, while pixdim and qform have the voxel sizes.

    Parameters
    ----------
    image : Nifti1Image
        As from `open_image`.

    Returns
    -------
    bool
        Whether it does.
    """
    if min(image.header["sform_code"], image.header["qform_code"]) <= 0:
        return False
    sizes = np.linalg.norm(image.get_sform()[:3, :3], axis=0)
    if not np.allclose(sizes, 1, atol=1e-3) or np.allclose(image.header["pixdim"][1:4], 1, rtol=SPACING_TOLERANCE):
        return False
    try:
        image.get_qform()
    except ValueError:  # a quaternion that is no rotation
        return False
    return True


@np.errstate(invalid="ignore")
def forms_agree(image: "nib.nifti1.Nifti1Image") -> bool:
    """Tell whether sform and qform, if both are set, place all corners within 1 mm of each other.

    Parameters
    ----------
    image : Nifti1Image
        As from `open_image`.

    Returns
    -------
    bool
        Whether they do.
    """
    if image.header["sform_code"] == 0 or image.header["qform_code"] == 0:
        return True
    try:
        difference = image.get_sform() - image.get_qform()
    except ValueError:  # a quaternion that is no rotation
        return False
    return bool(np.abs(corners(image.shape[:3]) @ difference.T).max() < 1)


def corners(ends: Sequence[int] | np.ndarray) -> np.ndarray:
    """List the corners of a box of voxels.

    Parameters
    ----------
    ends : sequence of int, or ndarray of shape (3,)
        The index (x, y, z) of the corner opposite to the index 0.

    Returns
    -------
    ndarray of shape (8, 4)
        The corners (x, y, z, 1).
    """
    return np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [*ends, 1]


def in_mm(values: Iterable[float]) -> str:
    """Write sizes for a reader.

    Parameters
    ----------
    values : iterable of float
        The sizes in mm.

    Returns
    -------
    str
        For instance "8 x 1.25 x 1.25 mm".
    """
    return " x ".join(f"{value:.3g}" for value in values) + " mm"

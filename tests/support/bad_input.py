"""The catalogue of faulty inputs: what is wrong, how to make it, and what it must get.

A case is made in a small sound cohort or configuration, or in a sound file of weights, goes through the entry that the
workflow uses, and gets an error or is used. `tests/test_bad_input.py` runs all of them and writes docs/bad_input.md.
"""

import contextlib
import copy
import gzip
import os
import pickle
import shutil
import struct
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml

from cardioseg.core import checkpoints, configuration, volumes
from cardioseg.core.errors import InputError
from cardioseg.segmentation.unet import UNet
from support import planning

ROOT = Path(__file__).parents[2]
PAPER = yaml.safe_load((ROOT / "config.yaml").read_text())
CODES = PAPER["cohort"]["structures"]
SPLITS = {
    "labelled": ["6-7"],
    "translation_source": ["6-7"],
    "translation_target": ["6-7"],
    "validation": [],
    "test": [7],
}
SHAPE = (4, 36, 40)  # z, y, x
SPACING = (8.0, 1.25, 1.25)
IMAGE, LABELS = "patient6_LGE.nii.gz", "patient6_C0_manual.nii.gz"
NOBODY = 65534
NAME = b"Jane Doe"


@dataclass(frozen=True)
class Case:
    """One faulty input. error: essential words of the error; without, it is used. notes: words of what is noted.

    spoil: changes a sound cohort (folder, configuration). right: asserts that what is used is used rightly.
    """

    name: str
    spoil: Callable[[Path, dict[str, Any]], object]
    error: str = ""
    notes: str = ""
    right: Callable[[], object] = field(default=lambda: None)
    without_rights: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a case got: the error, or else the notes with which it is used."""

    error: str
    notes: tuple[str, ...] = ()


def affine(spacing: tuple[float, float, float] = SPACING) -> np.ndarray:
    """Index (x, y, z) to mm of a short-axis stack as scanners store it: oblique, apex first."""
    to_apex = np.array([-1.0, 1.0, -1.0]) / np.sqrt(3)
    down = np.array([0.0, -0.7, -0.7]) - to_apex * (to_apex @ [0.0, -0.7, -0.7])
    down /= np.linalg.norm(down)
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([np.cross(down, to_apex), down, -to_apex]) * spacing[::-1]
    matrix[:3, 3] = (20.0, -30.0, 40.0)
    return matrix


def grey_values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, SHAPE).astype(np.int16)


def heart() -> np.ndarray:
    """Codes (z, y, x) of a cavity in its wall and another beside it, the same on every slice."""
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    radius, beside = np.hypot(y - 18, x - 24), np.hypot(y - 18, x - 12)
    codes = np.select([radius < 5, radius < 8, beside < 7], [CODES["LV"], CODES["MYO"], CODES["RV"]], 0)
    return np.broadcast_to(codes.astype(np.int16), SHAPE)


def save(path: Path, array: np.ndarray, matrix: np.ndarray | None = None, header: Any = None) -> None:
    """Write an array (z, y, x) as NIfTI, with sform and qform alike."""
    matrix = affine() if matrix is None else matrix
    image = nib.Nifti1Image(np.asarray(array).T, matrix, header)
    image.set_qform(matrix, code=1)
    image.set_sform(matrix, code=1)
    nib.save(image, path)


def sound_cohort(folder: Path) -> dict[str, Any]:
    """Two patients of both modalities, labelled; returns the configuration that uses them."""
    folder.mkdir()
    for patient in (6, 7):
        for offset, modality in enumerate(("C0", "LGE")):
            save(folder / f"patient{patient}_{modality}.nii.gz", grey_values(2 * patient + offset))
            if (patient, modality) != (6, "LGE"):
                save(folder / f"patient{patient}_{modality}_manual.nii.gz", heart())
    config = copy.deepcopy(PAPER)
    config["data"] = folder.name
    config["cohort"]["splits"] = copy.deepcopy(SPLITS)
    return config


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Whoever is root reads everything, so the case runs as nobody."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@cache
def outcome(case: Case) -> Outcome:
    """Make a case in a folder of its own, check configuration and cohort as the workflow does before any job."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(folder).chmod(0o777)
        config = sound_cohort(Path("data"))
        case.spoil(Path("data"), config)
        with without_rights() if case.without_rights else contextlib.nullcontext():
            try:
                configuration.check(config)
                found = planning.plan(config, check=True)
            except InputError as error:
                assert not Path("results").exists(), "something was written"
                return Outcome(str(error))
        case.right()
        return Outcome("", (*found.notes, *found.oddities))


# Images


def image(name: str, spoil: Callable[[Path], object], error: str = "", notes: str = "", right: Any = None) -> Case:
    """A case of one patient's image. right: takes the volume as the pipeline reads it."""
    check = (lambda: right(volumes.read_image(Path("data") / IMAGE))) if right else (lambda: None)
    return Case(name, lambda data, _: spoil(data / IMAGE), error, notes, check)


SOUND = grey_values(13)


def unchanged(volume: volumes.Volume) -> None:
    np.testing.assert_allclose(volume.array, SOUND, rtol=1e-4, atol=0.01)
    np.testing.assert_allclose(volume.affine, affine(), atol=1e-4)


def in_place(volume: volumes.Volume) -> None:
    """Every voxel lies where it lay, however the file orders the axes."""
    assert volume.array.shape[0] == SHAPE[0]
    assert sorted(np.round(volume.spacing, 4)) == sorted(SPACING)
    corners = [(0, 0, 0), (5, 2, 1), (30, 11, 3)]
    to_sound = np.linalg.inv(affine()) @ volume.affine
    for index in corners:
        x, y, z = np.rint((to_sound @ [*index, 1])[:3]).astype(int)
        assert volume.array[index[::-1]] == SOUND[z, y, x]


def array(**changes: Any) -> Callable[[Path], None]:
    """Write other voxels, or the sound ones with another affine."""
    return lambda path: save(path, changes.get("voxels", SOUND), changes.get("matrix"))


def with_values(value: float, count: int, dtype: type = np.float32) -> np.ndarray:
    voxels = SOUND.astype(dtype) + 7
    voxels.ravel()[:count] = value
    return voxels


def content(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the file's bytes."""
    return lambda path: path.write_bytes(change(path.read_bytes()))  # type: ignore[func-returns-value]


def header(*fields: tuple[int, str, tuple]) -> Callable[[Path], None]:
    """Overwrite fields of the NIfTI header: (offset, layout, values)."""

    def spoil(path: Path) -> None:
        stored = bytearray(gzip.decompress(path.read_bytes()))
        for offset, layout, values in fields:
            struct.pack_into("<" + layout, stored, offset, *values)
        path.write_bytes(gzip.compress(bytes(stored)))

    return spoil


CODES_OF_FORMS, PIXDIM, QUATERNION, SFORM, SCALE = 252, 80, 256, 280, 112
NO_FORM = (CODES_OF_FORMS, "2h", (0, 0))
QFORM_ALONE = (CODES_OF_FORMS, "2h", (1, 0))


def with_more(count: int) -> Callable[[bytes], bytes]:
    return lambda stored: gzip.compress(gzip.decompress(stored) + bytes(count))


def flipped_byte(stored: bytes) -> bytes:
    middle = len(stored) // 2
    return stored[:middle] + bytes([stored[middle] ^ 0xFF]) + stored[middle + 1 :]


def uncompressed(stored: bytes) -> bytes:
    """The same in gzip's format without compression, so that a changed byte gives one message with any zlib."""
    return gzip.compress(gzip.decompress(stored), compresslevel=0)


def reoriented(order: tuple[int, int, int], flips: tuple[int, int, int]) -> Callable[[Path], None]:
    """Store the same volume with other axes, as a program does that reorients what it saves."""

    def spoil(path: Path) -> None:
        nib.save(nib.Nifti1Image(SOUND.T, affine()).as_reoriented(np.column_stack([order, flips])), path)

    return spoil


def forms(sform: np.ndarray | None, qform: np.ndarray | None) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        stored = nib.Nifti1Image(SOUND.T, affine())
        stored.set_qform(qform, code=0 if qform is None else 1)
        stored.set_sform(sform, code=0 if sform is None else 1)
        nib.save(stored, path)

    return spoil


def moved(mm: float, axis: int = 0) -> np.ndarray:
    matrix = affine()
    matrix[axis, 3] += mm
    return matrix


def sheared() -> np.ndarray:
    matrix = affine()
    matrix[:3, 2] += 1.6 * matrix[:3, 0]
    return matrix


def as_dtype(dtype: str, voxels: np.ndarray = SOUND) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        stored = nib.Nifti1Image(voxels.astype(dtype).T, affine(), dtype=np.dtype(dtype))
        order = stored.header.as_byteswapped(">" if dtype.startswith(">") else "<")
        nib.save(nib.Nifti1Image(voxels.astype(dtype).T, affine(), order), path)

    return spoil


def colours(voxels: np.ndarray) -> np.ndarray:
    painted = np.zeros(voxels.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    painted["R"] = voxels % 256
    return painted


def name_the_patient(path: Path) -> None:
    """Write a name into every text field of a NIfTI header, as some exports do."""
    stored = nib.load(path)
    for name in ("descrip", "aux_file", "intent_name", "db_name"):
        stored.header[name] = NAME
    stored.header.extensions.append(nib.nifti1.Nifti1Extension("comment", NAME))
    nib.save(stored, path)


def nothing_personal() -> None:
    volumes.write_labels_like("mask.nii.gz", np.zeros(SHAPE, np.uint8), CODES, Path("data") / IMAGE)
    volumes.write("copy.nii.gz", SOUND, affine())
    for name in ("mask.nii.gz", "copy.nii.gz"):
        assert NAME not in gzip.decompress(Path(name).read_bytes())


def fill(voxels: np.ndarray, value: float) -> np.ndarray:
    return np.full_like(voxels, value)


UNREADABLE, DAMAGED = "cannot be read as NIfTI", "truncated or damaged"

IMAGES = [
    image("broken link", lambda path: (path.unlink(), path.symlink_to("nowhere")), "no such file"),
    image("empty file", content(lambda stored: b""), UNREADABLE),
    image("cut off within the header", content(lambda stored: stored[:200]), UNREADABLE),
    image("cut off half way", content(lambda stored: stored[: len(stored) // 2]), DAMAGED),
    image("last four bytes missing", content(lambda stored: stored[:-4]), DAMAGED),
    image("one byte changed", content(lambda stored: flipped_byte(uncompressed(stored))), DAMAGED),
    image("text after the end", content(lambda stored: stored + b"<html>"), DAMAGED),
    image("not compressed, though named .gz", content(gzip.decompress), "It is not compressed: rename it to .nii."),
    image("compressed twice", content(gzip.compress), UNREADABLE),
    image("web page in its place", content(lambda stored: b"<html>404</html>" * 50), UNREADABLE),
    image("1000 zeros", content(lambda stored: gzip.compress(bytes(1000))), UNREADABLE),
    image("unknown magic string", header((344, "4s", (b"nope",))), UNREADABLE),
    image("magic string of a header with a separate .img", header((344, "4s", (b"ni1",))), right=unchanged),
    image("header that promises more voxels than there are", header((46, "h", (9,))), DAMAGED),
    image("header that promises 70 TB", header((42, "3h", (32767,) * 3)), "expected at most 67108864"),
    image("8 MB of zeros behind the voxels", content(with_more(2**23)), DAMAGED),
    image("negative number of slices", header((46, "h", (-4,))), "has no voxels"),
    image("no slices", header((46, "h", (0,))), "has no voxels"),
    image("unknown type of voxels", header((70, "h", (1234,))), UNREADABLE),
    image("voxels that begin beyond the file", header((108, "f", (1e9,))), DAMAGED),
    image("2-D", array(voxels=SOUND[0]), "2 dimensions"),
    image("4-D, cine", array(voxels=np.stack([SOUND] * 3)), "4 dimensions"),
    image("4-D, of one frame", array(voxels=SOUND[None]), right=unchanged),
    image("5-D, of one frame and channel", array(voxels=SOUND[None, None]), right=unchanged),
    image("one slice", array(voxels=SOUND[:1]), right=lambda volume: volume.array.shape == (1, 36, 40)),
    image("slices of 16 x 16 pixels", array(voxels=SOUND[:, :16, :16]), "at least 32 x 32"),
    image("slices of a narrow strip", array(voxels=np.tile(SOUND, (1, 1, 4))), "36 x 160 pixels"),
    image("voxel size 0, no sform or qform", header(NO_FORM, (PIXDIM, "f", (0.0,))), "expected"),
    image("voxel size negative, no sform or qform", header(NO_FORM, (PIXDIM, "f", (-1.25,))), "expected"),
    image("voxel size NaN, no sform or qform", header(NO_FORM, (PIXDIM, "f", (np.nan,))), "expected"),
    image("voxel size infinite, qform alone", header(QFORM_ALONE, (PIXDIM, "f", (np.inf,))), "expected"),
    image("voxel size 0, qform alone", header(QFORM_ALONE, (PIXDIM + 8, "f", (0.0,))), "expected"),
    image("voxel size 0 beside a sform of 1.25 mm", header((PIXDIM, "f", (0.0,))), "expected"),
    image("voxel size of pixdim and of sform disagree", header((PIXDIM, "2f", (0.75, 0.75))), "expected"),
    image("voxel sizes in metres", array(matrix=affine((0.008, 0.00125, 0.00125))), "expected"),
    image("voxel sizes in micrometres", array(matrix=affine((8000, 1250, 1250))), "0.2 to 5 mm"),
    image("pixels of 1.25 x 2.5 mm", array(matrix=affine((8, 1.25, 2.5))), "nearly square"),
    image("slices 100 mm apart", array(matrix=affine((100, 1.25, 1.25))), "1 to 50 mm between slices"),
    image("singular sform", header((SFORM, "12f", (0.0,) * 12)), "singular"),
    image("NaN in the sform", header((SFORM, "f", (np.nan,))), "not finite"),
    image("impossible quaternion, qform alone", header(QFORM_ALONE, (QUATERNION, "3f", (1.0,) * 3)), UNREADABLE),
    image(
        "impossible quaternion beside a sform", header((QUATERNION, "3f", (1.0,) * 3)), notes="sform", right=unchanged
    ),
    image("sheared sform", array(matrix=sheared()), "not perpendicular"),
    image("origin 1000 km away", array(matrix=moved(1e9)), "expected"),
    image("qform alone", forms(None, affine()), right=unchanged),
    image("sform alone", forms(affine(), None), right=unchanged),
    image("neither sform nor qform", header(NO_FORM), notes="neither sform nor qform"),
    image("sform and qform 50 mm apart", forms(affine(), moved(50)), notes="sform", right=unchanged),
    image("sform and qform turned by 90 degrees", forms(affine(), affine()[:, [1, 0, 2, 3]]), notes="sform"),
    image(
        "sform without voxel sizes beside a qform",
        forms(affine() / [*SPACING[::-1], 1], affine()),
        notes="the qform is used",
        right=unchanged,
    ),
    image("slices on the file's first axis", reoriented((1, 2, 0), (1, 1, 1)), right=in_place),
    image("slices on the file's second axis", reoriented((0, 2, 1), (1, 1, 1)), right=in_place),
    image("slices from base to apex", reoriented((0, 1, 2), (1, 1, -1)), right=in_place),
    image("rows and columns exchanged", reoriented((1, 0, 2), (1, 1, 1)), notes="mirrored", right=in_place),
    image("rows from right to left", reoriented((0, 1, 2), (-1, 1, 1)), notes="mirrored left", right=in_place),
    image("turned by 180 degrees", reoriented((0, 1, 2), (-1, -1, 1)), notes="turned by 180", right=in_place),
    image(
        "a header of spacing alone, as scripts leave it",
        array(matrix=np.diag([1.25, 1.25, 8, 1])),
        notes="taken as stored",
    ),
    image("some NaN (T2 of MS-CMRSeg)", array(voxels=with_values(np.nan, 90)), notes="90 voxels NaN"),
    image("some infinite", array(voxels=with_values(-np.inf, 90)), notes="90 voxels NaN or infinite"),
    image("mostly NaN", array(voxels=with_values(np.nan, 4000)), "4000 of 5760 voxels are NaN"),
    image("all zero", array(voxels=fill(SOUND, 0)), "every voxel is 0"),
    image("all 17", array(voxels=fill(SOUND, 17)), "every voxel is 17"),
    image("zero but for one voxel", array(voxels=np.eye(1, SOUND.size, dtype=np.int16).reshape(SHAPE)), "expected"),
    image("a mask in place of the image", array(voxels=heart()), "expected"),
    image("a blank slice", array(voxels=np.where(np.arange(4)[:, None, None] == 2, 0, SOUND))),
    image("negative", as_dtype("i2", SOUND - 2000), right=lambda volume: volume.array.max() < 0),
    image("values of 1e30", array(voxels=SOUND * np.float32(1e30))),
    image("some values of 1e300", array(voxels=with_values(1e300, 9, np.float64)), notes="9 voxels NaN or infinite"),
    image("complex", array(voxels=SOUND.astype(np.complex64)), "expected real numbers"),
    image("RGB", array(voxels=colours(SOUND)), "expected real numbers"),
    image("8-bit", as_dtype("u1", SOUND % 256), right=lambda volume: volume.array.max() == 255),
    image("64-bit integers", as_dtype("<u8"), right=unchanged),
    image("double precision", as_dtype("<f8"), right=unchanged),
    image("big-endian", as_dtype(">i2"), right=unchanged),
    image("scl_slope 0, which means unscaled", header((SCALE, "2f", (0.0, 0.0))), right=unchanged),
    image("scl_slope NaN, which means unscaled", header((SCALE, "2f", (np.nan, np.nan))), right=unchanged),
    image(
        "fractional scl_slope",
        header((SCALE, "2f", (0.37, -12.5))),
        right=lambda volume: np.testing.assert_allclose(volume.array, SOUND * 0.37 - 12.5, rtol=1e-4, atol=1e-3),
    ),
    image("scl_slope without a finite scl_inter", header((SCALE, "2f", (2.0, np.nan))), UNREADABLE),
    image("names in all text fields of the header", name_the_patient, right=lambda volume: nothing_personal()),
    image("the file of another patient", lambda path: shutil.copy(path.with_name("patient7_LGE.nii.gz"), path), "same"),
    image(
        "the file of the other modality", lambda path: shutil.copy(path.with_name("patient6_C0.nii.gz"), path), "same"
    ),
]

# Labels


def labels(name: str, spoil: Callable[[Path], object], error: str = "", notes: str = "", right: Any = None) -> Case:
    """A case of one patient's labels. right: takes the labels as the pipeline reads them."""

    def check() -> None:
        if right:
            of = volumes.read_image(Path("data/patient6_C0.nii.gz"))
            right(volumes.read_labels(Path("data") / LABELS, CODES, of).array)

    return Case(name, lambda data, _: spoil(data / LABELS), error, notes, check)


CLASSES = np.select([heart() == code for code in CODES.values()], [1, 2, 3]).astype(np.uint8)


def rightly_read(read: np.ndarray) -> None:
    np.testing.assert_array_equal(read, CLASSES)


def coded(**codes: float) -> np.ndarray:
    """The heart in other codes."""
    values = CODES | codes
    return np.select([heart() == code for code in CODES.values()], list(values.values()), 0).astype(np.float32)


def scaled(path: Path) -> None:
    stored = nib.Nifti1Image(heart().astype(np.float64).T, affine())
    stored.set_data_dtype(np.int16)
    nib.save(stored, path)


def reoriented_labels(path: Path) -> None:
    stored = nib.Nifti1Image(heart().T, affine())
    nib.save(stored.as_reoriented(np.array([[1, -1], [0, 1], [2, -1]])), path)


def with_value(value: float) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        voxels = heart().astype(np.float32)
        voxels[1, 2, 3] = value
        save(path, voxels)

    return spoil


def labels_array(voxels: np.ndarray, matrix: np.ndarray | None = None) -> Callable[[Path], None]:
    return lambda path: save(path, voxels, matrix)


CONVENTION = "500 (LV), 200 (MYO), 600 (RV)"

LABEL_FILES = [
    labels(
        "a code that does not exist, in one voxel",
        with_value(7),
        f"label value 7 is not expected; expected 0 (background), {CONVENTION}",
    ),
    labels("codes of another convention (1, 2, 3)", labels_array(CLASSES), CONVENTION),
    labels("codes of LV and RV exchanged", labels_array(coded(LV=CODES["RV"], RV=CODES["LV"])), notes="LV"),
    labels("negative code", with_value(-1), "label value -1"),
    labels("NaN", with_value(np.nan), "label value nan"),
    labels("a value between the codes (500.4)", with_value(500.4), "label value 500.4"),
    labels(
        "interpolated",
        labels_array((heart() + np.roll(heart(), 1, axis=2)) / np.float32(2)),
        "is not expected; expected 0 (background)",
    ),
    labels("codes with rounding errors (499.998)", labels_array(heart() * np.float32(0.999996)), right=rightly_read),
    labels("stored as scaled integers", scaled, right=rightly_read),
    labels("double precision", labels_array(heart().astype(np.float64)), right=rightly_read),
    labels(
        "affine 30 mm away from the image's",
        labels_array(heart(), moved(30)),
        notes="the image's is used",
        right=rightly_read,
    ),
    labels(
        "affine of other directions than the image's",
        labels_array(heart(), np.diag([1.25, 1.25, 8, 1])),
        notes="the image's is used",
        right=rightly_read,
    ),
    labels(
        "axes turned and flipped, as the affine says",
        reoriented_labels,
        notes="axes turned to the image's",
        right=rightly_read,
    ),
    labels("another number of slices", labels_array(heart()[:3]), "expected one grid"),
    labels("another matrix", labels_array(heart()[:, :, :38]), "expected one grid"),
    labels(
        "rows and columns exchanged, not in the affine", labels_array(heart().transpose(0, 2, 1)), "expected one grid"
    ),
    labels("another voxel size", labels_array(heart(), affine((5, 1.25, 1.25))), "Correct the header"),
    labels("sheared affine", labels_array(heart(), sheared()), "not perpendicular"),
    labels("empty", labels_array(fill(heart(), 0)), "has no structure at all; expected LV, MYO, RV"),
    labels("a structure missing", labels_array(np.where(heart() == CODES["RV"], 0, heart())), notes="no RV"),
    labels("apical slices without heart", labels_array(np.where(np.arange(4)[:, None, None] < 2, 0, heart()))),
    labels("4-D, of one frame", labels_array(heart()[None]), right=rightly_read),
    labels("4-D", labels_array(np.stack([heart()] * 2)), "4 dimensions"),
    labels("RGB", labels_array(colours(heart())), "expected numbers"),
    labels("cut off half way", content(lambda stored: stored[: len(stored) // 2]), DAMAGED),
    labels(
        "the image in place of the labels",
        lambda path: shutil.copy(path.with_name("patient6_C0.nii.gz"), path),
        CONVENTION,
    ),
]

# Cohorts


def splits(**changes: list) -> Callable[[Path, dict[str, Any]], None]:
    return lambda _, config: config["cohort"]["splits"].update(changes)


def everywhere(*patients: str | int) -> dict[str, list]:
    return {split: list(patients) if split != "validation" else [] for split in SPLITS}


def patterns(pattern: str) -> dict[str, dict[str, str]]:
    return {
        role: {
            "name": modality,
            "image": pattern.replace("MODALITY", short),
            "labels": pattern.replace("MODALITY", f"{short}_manual"),
        }
        for role, modality, short in (("source", "bSSFP", "C0"), ("target", "LGE", "LGE"))
    }


def renamed(names: dict[str, str], pattern: str) -> Callable[[Path, dict[str, Any]], None]:
    """Give the patients other names, and the configuration a pattern and splits that fit."""

    def spoil(data: Path, config: dict[str, Any]) -> None:
        for old, new in names.items():
            for path in list(data.glob(f"patient{old}_*")):
                moved_to = data / pattern.format(patient=new).replace("MODALITY", path.name[len(f"patient{old}_") : -7])
                moved_to.parent.mkdir(parents=True, exist_ok=True)
                path.rename(moved_to)
        config["cohort"].update(patterns(pattern))
        config["cohort"]["splits"] = everywhere(*names.values())

    return spoil


def without(glob: str) -> Callable[[Path, dict[str, Any]], None]:
    return lambda data, _: [path.unlink() for path in data.glob(glob)]


def without_ventricle(data: Path, _: dict[str, Any]) -> None:
    for path in data.glob("*C0_manual*"):
        save(path, np.where(heart() == CODES["RV"], 0, heart()))


def patient_named(name: str) -> Callable[[Path, dict[str, Any]], None]:
    return splits(**everywhere(7, name))


def apart_without_labels(data: Path, config: dict[str, Any]) -> None:
    config["fusion"] = fusion()
    config["cohort"]["splits"]["labelled"] = [6]
    (data / "patient7_C0_manual.nii.gz").unlink()
    save(data / "patient7_LGE.nii.gz", SOUND, moved(900))


def without_source_images(data: Path, config: dict[str, Any]) -> None:
    config["fusion"] = fusion()
    config["cohort"]["splits"] |= {"labelled": [6], "translation_source": [6]}
    for path in data.glob("patient7_C0*"):
        path.unlink()


def padded(data: Path, config: dict[str, Any]) -> None:
    renamed({"6": "06", "7": "07"}, "{patient}_MODALITY.nii.gz")(data, config)
    config["cohort"]["splits"] = SPLITS


def beyond_ascii(data: Path, config: dict[str, Any]) -> None:
    renamed({"6": "Jane Doe", "7": "Jürgen Ø 心"}, "{patient}/a scan MODALITY.nii.gz")(data, config)
    config["cohort"]["splits"]["test"] = ["Jürgen Ø 心"]


def decomposed(data: Path, config: dict[str, Any]) -> None:
    """As an archive made on a Mac names it, while the configuration is typed elsewhere."""
    renamed({"6": "6", "7": unicodedata.normalize("NFD", "Zoë")}, "{patient}_MODALITY.nii.gz")(data, config)
    config["cohort"]["splits"] = everywhere(6, unicodedata.normalize("NFC", "Zoë")) | {"test": ["Zoë"]}


def zip_in_place(data: Path, config: dict[str, Any]) -> None:
    shutil.make_archive("release", "zip", data)
    config["data"] = "release.zip"


def linked_loop(data: Path, _: Any) -> None:
    shutil.move(data, "elsewhere")
    data.mkdir()
    (data / "release").symlink_to("../elsewhere")
    (data / "release again").symlink_to("../elsewhere")
    (data / "release" / "loop").symlink_to("..")


def hidden(data: Path, _: Any) -> None:
    for name in (".Trash-1000", "__MACOSX"):
        (data / name).mkdir()
    shutil.copy(data / IMAGE, data / ".Trash-1000" / IMAGE)
    (data / "__MACOSX" / f"._{IMAGE}").write_bytes(b"Mac OS X")


def set_data(value: str) -> Callable[[Path, dict[str, Any]], None]:
    return lambda _, config: config.update(data=value)


def pattern_of(role: str, pattern: str) -> Callable[[Path, dict[str, Any]], None]:
    return lambda _, config: config["cohort"][role].update(image=pattern)


def forbidden(name: str) -> Callable[[Path, dict[str, Any]], None]:
    return lambda data, _: (data / name).chmod(0)


def enterable(mode: int) -> Callable[[Path, dict[str, Any]], None]:
    def spoil(data: Path, _: Any) -> None:
        (data / "more").mkdir()
        (data / IMAGE).rename(data / "more" / IMAGE)
        (data / "more").chmod(mode)

    return spoil


def phantom(**changes: list) -> Callable[[Path, dict[str, Any]], None]:
    return lambda _, config: (config.update(data=None), config["cohort"]["splits"].update(changes))


def copied(old: str, new: str) -> Callable[[Path, dict[str, Any]], None]:
    return lambda data, _: ((data / new).parent.mkdir(exist_ok=True), shutil.copy(data / old, data / new))


COHORTS = [
    Case("no such folder", set_data("nowhere"), "data: nowhere is not a folder; expected"),
    Case("the archive, not unzipped", zip_in_place, "release.zip is not a folder; expected the folder of the unzipped"),
    Case("a file in place of the folder", set_data(f"data/{IMAGE}"), "is not a folder"),
    Case("empty folder", without("*"), "cohort.splits.labelled: no bSSFP image found in data"),
    Case("bSSFP alone", without("*LGE*"), "cohort.splits.translation_target: no LGE image found in data"),
    Case("LGE alone", without("*C0*"), "cohort.splits.labelled: no bSSFP image found in data"),
    Case("no labels of bSSFP", without("*C0_manual*"), "is in cohort.splits.labelled but has no labels"),
    Case("no labels of bSSFP with RV", without_ventricle, "cohort.structures: none of the 2 label files"),
    Case("no labels of LGE", without("*LGE_manual*"), notes="no LGE labels of 7: segmented, not evaluated"),
    Case("labels without an image", without("patient6_C0.nii.gz"), "labels without an image"),
    Case("a patient's file in two folders", copied(IMAGE, f"copy/{IMAGE}"), "patient 6 occurs twice"),
    Case("hidden copies (.Trash, macOS)", hidden),
    Case("gaps in a range", splits(test=["7-9"]), notes="no LGE image of 8, 9; 1 patients remain"),
    Case("a named patient who is not there", splits(test=[7, 12]), "cohort.splits.test: patient 12 has no LGE image"),
    Case("a patient named twice", splits(test=["6-7", 7]), "cohort.splits.test: patient 7 is named twice"),
    Case("range that ends before it begins", splits(test=["7-6"]), "expected 6-7"),
    Case("range of a million", splits(test=["1-1000000"]), "at most 10000 patients"),
    Case("test patient in validation", splits(validation=[7]), "in validation and in test; expected disjoint splits"),
    Case("test patients in the training splits, as in the paper (no label of LGE is learnt from)", splits(test=[7])),
    Case("no patient to segment", splits(test=[]), "nothing to segment"),
    Case(
        "no patient to learn from",
        splits(labelled=[]),
        "cohort.splits.labelled: names none of the 2 patients with bSSFP images",
    ),
    Case("one patient", splits(**everywhere(7))),
    Case(
        "bSSFP and LGE of a patient 900 mm apart",
        lambda data, _: save(data / "patient7_LGE.nii.gz", SOUND, moved(900)),
        "lies entirely outside of data/patient7_LGE.nii.gz in scanner coordinates",
    ),
    Case(
        "bSSFP image without labels, whose labels are to be predicted, 900 mm apart from LGE",
        apart_without_labels,
        "patient7_C0.nii.gz: lies entirely outside of data/patient7_LGE.nii.gz in scanner coordinates",
    ),
    Case(
        "labels to be predicted of bSSFP images that nobody segmented has",
        without_source_images,
        "fusion.labels: predicted, but no patient of the validation and test splits has a bSSFP image",
    ),
    Case("numbers padded with zeros", padded),
    Case("patients called NA and 1e5", renamed({"6": "NA", "7": "1e5"}, "{patient}_MODALITY.nii.gz"), notes="of NA"),
    Case(
        "patients called null and True",
        renamed({"6": "null", "7": "True"}, "{patient}_MODALITY.nii.gz"),
        notes="of null",
    ),
    Case("spaces and letters beyond ASCII in names", beyond_ascii),
    Case("letters composed in the configuration, decomposed on disk", decomposed),
    Case(
        "line break in a name",
        renamed({"6": "a\nb", "7": "7"}, "{patient}_MODALITY.nii.gz"),
        "cannot be used. Rename it",
    ),
    Case(
        "backslash in a name",
        renamed({"6": "a\\b", "7": "7"}, "{patient}_MODALITY.nii.gz"),
        "cannot be used. Rename it",
    ),
    Case("braces in a name", renamed({"6": "{x}", "7": "7"}, "{patient}_MODALITY.nii.gz"), "cannot be used. Rename it"),
    Case(
        "angle brackets in a name",
        renamed({"6": "<x>", "7": "7"}, "{patient}_MODALITY.nii.gz"),
        "cannot be used. Rename it",
    ),
    Case("patient called ..", renamed({"6": "..", "7": "7"}, "{patient}_MODALITY.nii.gz"), "expected"),
    Case("patient called ../../x in a split", patient_named("../../x"), "patient ../../x has no bSSFP image"),
    Case("patient called /etc/x in a split", patient_named("/etc/x"), "patient /etc/x has no bSSFP image"),
    Case(
        "pattern that is an absolute path",
        pattern_of("target", "/data/patient{patient}_LGE.nii.gz"),
        "cohort.target.image",
    ),
    Case(
        "pattern that leaves the folder", pattern_of("target", "../patient{patient}_LGE.nii.gz"), "cohort.target.image"
    ),
    Case(
        "pattern with the backslashes of Windows",
        pattern_of("target", "lge\\patient{patient}_LGE.nii.gz"),
        "expected / between folders",
    ),
    Case(
        "pattern without {patient}",
        pattern_of("source", "*_C0.nii.gz"),
        "cohort.source.image: expected {patient} exactly once",
    ),
    Case(
        "one pattern for both modalities",
        pattern_of("target", PAPER["cohort"]["source"]["image"]),
        "cohort.target.image: the pattern of cohort.source.image",
    ),
    Case(
        "pattern that matches nothing", pattern_of("target", "patient{patient}_lge.nii.gz"), "labels without an image"
    ),
    Case("links to folders, twice and in a loop", linked_loop),
    Case("no permission to read a file", forbidden(IMAGE), "permission", without_rights=True),
    Case("no permission to enter a folder", enterable(0o444), "permission", without_rights=True),
    Case("no permission to list a folder", enterable(0o111), "cannot be read (Permission denied)", without_rights=True),
    Case(
        "phantom with a patient whose name is not a number", phantom(test=["Jane"]), "the phantom has no patient Jane"
    ),
    Case("phantom with a patient 0", phantom(test=[0]), "no patient 0"),
    Case(
        "more synthetic images than histograms to match",
        lambda _, config: config["translation"].update(method="histogram"),
        "synthesis.samples: 5; expected 2 or less",
    ),
]

# Configurations


def setting(path: str, value: Any) -> Callable[[Path, dict[str, Any]], None]:
    """Set a key, named with dots."""

    def spoil(_: Path, config: dict[str, Any]) -> None:
        *sections, key = path.split(".")
        for name in sections:
            config = config[name]
        config[key] = value

    return spoil


def contradiction(name: str, path: str, value: Any, error: str) -> Case:
    return Case(name, setting(path, value), error)


def looks(**scar: Any) -> dict[str, Any]:
    """A valid `appearance`, with changes of its scars."""
    settings = yaml.safe_load((ROOT / "demo" / "mscmrseg.yaml").read_text())["segmentation"]["appearance"]
    return settings | {"scar": settings["scar"] | scar}


def nulled(**changes: Any) -> dict[str, Any]:
    """A valid `appearance`, with changes of how it nulls the wall."""
    return looks() | {"nulled": {"structure": "MYO", "blood": "LV", "share": [0.1, 0.8]} | changes}


def fusion(**changes: Any) -> dict[str, Any]:
    """A sound `fusion` but for changes."""
    return {
        "labels": ["predicted"],
        "stage": "affine",
        "weight": 0.3,
        "blur_mm": [0, 2, 2],
        "least_agreement": 0,
        "least_area": 0,
    } | changes


def contraction(**changes: Any) -> dict[str, Any]:
    """A valid `contraction`, with changes."""
    return {"cavity": "LV", "wall": "MYO", "narrowing": [-0.1, 0.5]} | changes


def self_trained(
    cohort_splits: dict[str, list] | None = None, **changes: Any
) -> Callable[[Path, dict[str, Any]], None]:
    """Switch on self-training with fusion, then change other sections and splits."""

    def spoil(_: Path, config: dict[str, Any]) -> None:
        config["self_training"] = {
            "epochs": 1,
            "learning_rate": 0.001,
            "targets": "labels",
            "fused": True,
            "least_agreement": 0,
        }
        config["fusion"] = fusion()
        config.update(changes)
        config["cohort"]["splits"].update(cohort_splits or {})

    return spoil


def scarred(**changes: Any) -> dict[str, Any]:
    """A sound `scar` but for changes."""
    return {"method": "fwhm", "standard_deviations": 5, "smallest_ml": 0.2} | changes


CONFIGURATIONS = [
    contradiction("a number that YAML takes for text", "translation.learning_rate", "1e-4", "write 1.0e-4 or 0.0001"),
    contradiction("a misspelt key", "cropping.sise", 192, "unknown key cropping.sise; did you mean size?"),
    contradiction("crop that the U-Net cannot halve", "cropping.size", 100, "cropping.size: 100 is not divisible"),
    contradiction(
        "crop too small for the discriminator", "cropping.size", 48, "too small for translation.discriminator"
    ),
    contradiction("percentiles in the wrong order", "cropping.percentiles", [99, 1], "expected the lower one first"),
    contradiction("a translator that does not exist", "translation.method", "cyclegan", "expected one of ['munit',"),
    contradiction("one seed twice", "ensemble", [1, 2, 1], "ensemble: a seed occurs twice"),
    contradiction("one code for two structures", "cohort.structures.LV", 200, "two structures share a code"),
    contradiction("code 0, the background's", "cohort.structures.LV", 0, "cohort.structures.LV: 0"),
    contradiction("one value for two structures", "cohort.source.codes", {"LV": 1, "MYO": [2, 1]}, "each value once"),
    contradiction("values of an unknown structure", "cohort.target.codes", {"LVM": 1}, "neither background nor in"),
    contradiction(
        "labels to learn from without a structure", "cohort.source.codes", {"RV": None}, "networks learn from"
    ),
    contradiction(
        "labels without any structure",
        "cohort.target.codes",
        {"LV": None, "MYO": None, "RV": None},
        "no structure has a value",
    ),
    contradiction("one name for both modalities", "cohort.source.name", "LGE", "are equal; expected two modalities"),
    contradiction(
        "modality with the name of a folder", "cohort.source.name", "labels", "the name of a folder of results"
    ),
    contradiction("modality with a path in its name", "cohort.target.name", "../LGE", "cohort.target.name: '../LGE'"),
    contradiction("too few class weights", "segmentation.class_weights", [1, 1, 1], "3 weights; expected 4"),
    contradiction(
        "unknown structure to smooth", "postprocessing.morphology.order", ["LVM"], "not in cohort.structures"
    ),
    contradiction(
        "scars in an unknown structure", "segmentation.appearance", looks(structure="LVM"), "not in cohort.structures"
    ),
    contradiction(
        "scars relative to an unknown cavity", "segmentation.appearance", looks(blood="LVC"), "not in cohort.structures"
    ),
    contradiction("scars in the blood", "segmentation.appearance", looks(blood="MYO"), "are one; expected two"),
    contradiction(
        "scars from thick to thin", "localisation.appearance", looks(transmurality=[1, 0.3]), "the least first"
    ),
    contradiction("a scar's probability of 2", "segmentation.appearance", looks(probability=2), "expected 1 or less"),
    contradiction(
        "unknown structure to turn dark", "segmentation.appearance", looks() | {"downward": {"LVM": 0.3}}, "neither"
    ),
    contradiction(
        "a wall nulled by an unknown cavity", "segmentation.appearance", nulled(blood="LVC"), "not in cohort.structures"
    ),
    contradiction("a wall nulled by itself", "segmentation.appearance", nulled(blood="MYO"), "are one; expected two"),
    contradiction("nulled from bright to dark", "localisation.appearance", nulled(share=[0.8, 0.1]), "the least first"),
    contradiction(
        "unknown cavity to narrow", "segmentation.contraction", contraction(cavity="LVC"), "not in cohort.str"
    ),
    contradiction("cavity and wall alike", "segmentation.contraction", contraction(wall="LV"), "are one structure"),
    contradiction(
        "narrowing from much to little", "segmentation.contraction", contraction(narrowing=[1, 0]), "the least first"
    ),
    contradiction("unknown structure to measure", "clinical.cavity", "LVM", "not in cohort.structures"),
    contradiction("cavity and myocardium alike", "clinical.cavity", "MYO", "are one structure; expected two"),
    contradiction(
        "unknown labels to fuse", "fusion", fusion(labels=["own"]), "fusion.labels.0: 'own'; expected one of"
    ),
    contradiction("no labels to fuse", "fusion", fusion(labels=[]), "fusion.labels: []; expected at least 1"),
    contradiction("labels fused twice", "fusion", fusion(labels=["manual", "manual"]), "expected each once"),
    contradiction("weight beyond 1", "fusion", fusion(weight=1.5), "fusion.weight: 1.5; expected 1 or less"),
    Case("self-training of a single network", self_trained(ensemble=[3]), "expected two seeds or more"),
    Case("self-training with fusion that is off", self_trained(fusion=None), "self_training.fused: `fusion` is null"),
    Case(
        "self-training without target images",
        self_trained({"translation_target": []}),
        "cohort.splits.translation_target: names none of the 2 patients with LGE images",
    ),
    Case(
        "self-training with source labels of nobody",
        self_trained({"labelled": [7], "translation_target": [6]}),
        "self_training.fused: no patient is in cohort.splits.labelled and in translation_target",
    ),
    contradiction(
        "self-training without an epoch",
        "self_training",
        {"epochs": 0, "learning_rate": 0.001, "targets": "labels", "fused": False, "least_agreement": 0},
        "self_training.epochs: 0; expected 1 or more",
    ),
    Case(
        "segments without a wall",
        lambda _, config: config.update(clinical=None, segments={"right_ventricle": "RV"}),
        "segments: needs `clinical`",
    ),
    contradiction("segments by an unknown ventricle", "segments", {"right_ventricle": "RVC"}, "not in cohort"),
    contradiction("segments by the cavity", "segments", {"right_ventricle": "LV"}, "expected another structure"),
    contradiction("scar by an unknown method", "scar", scarred(method="otsu"), "scar.method: 'otsu'"),
    contradiction("scar above no deviation", "scar", scarred(standard_deviations=0), "expected more than 0"),
    contradiction("device that does not exist", "compute.device", "gpu", "compute.device: 'gpu'"),
]

# What may be null besides what is null in the paper's configuration.
NULLABLE = ("clinical", *(f"cohort.structures.{name}" for name in CODES))
# Sections whose keys are the user's own names.
OF_FREE_NAMES = ("cohort.structures",)
# Lists that the configuration allows to be empty. Which splits may be empty is checked with the cohort.
EMPTIABLE = ("cohort.splits.labelled", "cohort.splits.translation_source", "cohort.splits.translation_target")
EMPTIABLE += ("cohort.splits.validation", "cohort.splits.test", "postprocessing.morphology.order")
ANOTHER = object()


def keys(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a configuration with its value, named with dots, sections before what they hold."""
    for name, value in section.items():
        yield prefix + name, value
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{name}.")


def wrong_types(path: str, value: Any) -> list[Any]:
    """Values of other types than the key's."""
    scalars: list[Any] = ["abc", 5, True, None]
    if isinstance(value, dict):
        wrong = [*scalars, [1]]
    elif isinstance(value, list):
        wrong = [*scalars, {}, [None], [[1]], [{}]]
    elif isinstance(value, bool):
        wrong = ["yes", 1, 0, None, [], {}]
    elif isinstance(value, int | float):
        wrong = ["abc", "1e-4", True, None, [1], {}, float("nan"), float("inf")]
    else:
        wrong = [5, 2.5, True, None, [], {}]
    return [other for other in wrong if not (other is None and (value is None or path in NULLABLE))]


def out_of_range(path: str, value: Any) -> list[Any]:
    """Values of the right type that are out of range."""
    if isinstance(value, dict):
        return [{}] if path in OF_FREE_NAMES else [{}, value | {"another": 1}]
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return [-1, -0.001, 10**30, 1e30]
    if isinstance(value, list):
        wrong: list[Any] = [] if path in EMPTIABLE else [[]]
        if isinstance(value[0], int | float):
            wrong += [[-1] * len(value), [10**30] * len(value)]
        return wrong
    return [""]


EVERY_KEY = list(keys(PAPER))


def complaint(path: str, value: Any) -> str:
    """The error for one changed key of the paper's configuration; empty if the value is accepted."""
    config = copy.deepcopy(PAPER)
    setting(path, value)(Path(), config)
    try:
        configuration.check(config)
    except InputError as error:
        return str(error).removeprefix("configuration: ")
    return ""


# Weights


class Code:
    """Touches a file when it is unpickled as usual."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("it ran"),)


def network(width: int = 4, depth: int = 2, classes: int = 4) -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(width)
        return UNet(1, classes, width, depth)


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        stored = checkpoints.load(path)
        change(stored)
        checkpoints.save(path, stored)

    return spoil


def of_network(other: UNet) -> Callable[[Path], None]:
    return lambda path: checkpoints.save_weights(path, other)


def one_weight(path: Path) -> None:
    stored = path.read_bytes()
    weight = network().state_dict()["head.weight"].numpy().tobytes()
    assert stored.count(weight) == 1
    where = stored.index(weight)
    path.write_bytes(stored[: where + 2] + bytes([stored[where + 2] ^ 0x40]) + stored[where + 3 :])


NOT_COMPLETE, OTHER_NETWORK = "not a complete checkpoint", "its weights are not of the configured network"

WEIGHTS = [
    ("missing", lambda path: path.unlink(), "cannot be read (No such file or directory)"),
    ("empty", lambda path: path.write_bytes(b""), NOT_COMPLETE),
    ("cut off half way", content(lambda stored: stored[: len(stored) // 2]), NOT_COMPLETE),
    ("one bit of one weight changed", one_weight, NOT_COMPLETE),
    ("text", lambda path: path.write_text("weights"), NOT_COMPLETE),
    ("a pickle with code in it", lambda path: path.write_bytes(pickle.dumps(Code())), NOT_COMPLETE),
    ("PyTorch's format with code in it", lambda path: torch.save({"weights": Code()}, path), NOT_COMPLETE),
    ("a whole network, pickled", lambda path: torch.save(network(), path), NOT_COMPLETE),
    ("one tensor", lambda path: torch.save(torch.zeros(3), path), NOT_COMPLETE),
    ("a state dictionary alone", lambda path: torch.save(network().state_dict(), path), OTHER_NETWORK),
    ("of a wider network", of_network(network(width=8)), OTHER_NETWORK),
    ("of a deeper network", of_network(network(depth=3)), OTHER_NETWORK),
    ("of a network for other structures", of_network(network(classes=3)), OTHER_NETWORK),
    ("a layer missing", rewritten(lambda stored: stored["weights"].popitem()), OTHER_NETWORK),
    ("NaN in the weights", rewritten(lambda stored: stored["weights"]["head.weight"].fill_(np.nan)), "NaN or infinite"),
]


@cache
def weights_outcome(name: str) -> str:
    """The error that a file of weights gets; nothing if it is loaded."""
    spoil = next(spoil for case, spoil, _ in WEIGHTS if case == name)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        path = Path("unet.pt")
        checkpoints.save_weights(path, network())
        spoil(path)
        try:
            checkpoints.load_weights(path, network())
        except InputError as error:
            return str(error)
        finally:
            assert not Path("it ran").exists()
    return ""

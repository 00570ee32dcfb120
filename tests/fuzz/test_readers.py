"""Readers given damaged files: an InputError or a result, within 10 s and 2 GiB, and nothing written elsewhere.

    FUZZ_EXAMPLES=10000 python -m pytest -s tests/fuzz

tries more than the few examples of a usual run, and others, and tells how many. What it finds, hypothesis shrinks and
prints; it is then kept here as an `example`, and mended.
"""

import contextlib
import copy
import gzip
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import dicom_files
from bad_input import CODES, ROOT, SHAPE, affine, grey_values, heart
from cardioseg.cohort import checks, inputs
from cardioseg.core import checkpoints, configuration, configuration_file, volumes
from cardioseg.core.errors import InputError
from cardioseg.model import trained_model
from trained import write_results

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))
LONGEST_S = 10
MOST_MEMORY = 2 * 2**30
SECONDS: list[float] = []
fuzz = settings(
    max_examples=EXAMPLES,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def peak() -> int:
    """Bytes of memory that this process has held at most."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    yield
    print(f"\n{len(SECONDS)} inputs, the slowest {max(SECONDS):.2f} s; at most {peak() / 2**20:.0f} MiB in all")


@contextlib.contextmanager
def guarded() -> Iterator[Path]:
    """A folder to work in, in which nothing may appear but in `out`; an InputError ends what is done there."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        began, before = time.process_time(), peak()
        with contextlib.suppress(InputError):
            yield Path(folder)
        SECONDS.append(time.process_time() - began)
        assert SECONDS[-1] < LONGEST_S
        assert peak() - before < MOST_MEMORY
        assert {path.name for path in Path(folder).iterdir()} <= {"in", "out"}


def in_folder(content: bytes, name: str) -> Path:
    path = Path("in") / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


Edits = list[tuple[int, bytes]]


def edits(length: int, most: int = 6) -> st.SearchStrategy[Edits]:
    """Bytes to put in place of others."""
    odd = st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xff\x7f", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\x80", b"\1"])
    return st.lists(st.tuples(st.integers(0, length - 1), st.binary(min_size=1, max_size=8) | odd), max_size=most)


def edited(content: bytes, changes: Edits) -> bytes:
    stored = bytearray(content)
    for place, new in changes:
        stored[place : place + len(new)] = new
    return bytes(stored)


# NIfTI


def nifti(array: np.ndarray) -> bytes:
    image = nib.Nifti1Image(array.T, affine())
    image.set_qform(affine(), code=1)
    return image.to_bytes()


IMAGE, LABELS = nifti(grey_values(1)), nifti(heart())
HEADER = 352


@fuzz
@given(
    changes=edits(HEADER),
    length=st.none() | st.integers(0, len(IMAGE)),
    compressed=st.booleans(),
    of_labels=st.booleans(),
    of_stream=edits(10**9),
)
@example(changes=[], length=None, compressed=True, of_labels=False, of_stream=[(100, b"\xff" * 4)])
@example(changes=[(42, b"\xff\x7f\xff\x7f\x01\x00")], length=None, compressed=False, of_labels=False, of_stream=[])
@example(changes=[(40, b"\x07\x00")], length=None, compressed=True, of_labels=True, of_stream=[])
@example(changes=[(108, b"\0\0\x80\x7f")], length=None, compressed=True, of_labels=False, of_stream=[])
@example(changes=[(323, b"\x7f")], length=None, compressed=False, of_labels=False, of_stream=[])
@example(changes=[(283, b"\x7f")], length=None, compressed=True, of_labels=True, of_stream=[])
@example(changes=[(87, b"\x7f")], length=None, compressed=False, of_labels=False, of_stream=[])
@example(changes=[(286, b"\x80\x7f")], length=None, compressed=False, of_labels=False, of_stream=[])
@example(changes=[(70, b"\x00\x04")], length=None, compressed=False, of_labels=False, of_stream=[])
@example(changes=[(107, b"\0\0\0\xb8"), (348, b"\1")], length=None, compressed=False, of_labels=False, of_stream=[])
def test_damaged_nifti_is_read_or_refused(
    changes: Edits, length: int | None, compressed: bool, of_labels: bool, of_stream: Edits
) -> None:
    content = edited(LABELS if of_labels else IMAGE, changes)[:length]
    if compressed:
        stream = gzip.compress(content, 1)
        content = edited(stream, [(place % len(stream), new) for place, new in of_stream])
    with guarded():
        path = in_folder(content, "a.nii.gz" if compressed else "a.nii")
        volumes.read_grid(path)
        if of_labels:
            volumes.read_labels(path, CODES)
            return
        image = inputs.read(path)
        checks.check_orientation([path], checks.Grids())  # which the workflow asks of images that can be read
        mask = inputs.write_labels(Path("out/mask"), np.ones(image.volume.array.shape, np.uint8), CODES, image)
        assert nib.load(mask).shape == nib.load(path).shape


# DICOM


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of a series, by how it is stored; hypothesis prints its path, and not what is in it."""
    folder = tmp_path_factory.mktemp("series")
    stored = np.abs(grey_values(2)).astype(np.uint16)
    matrix = dicom_files.right_handed(stored, affine())[1]
    dicom_files.write_series(folder / "files", stored, matrix, slope=0.5)
    dicom_files.write_enhanced(folder / "enhanced" / "file", stored, matrix, slopes=[1] * len(stored))
    return folder


def contents(series: Path, kind: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((series / kind).iterdir())]


KEYWORDS = sorted(
    {
        *("ImageType", "Modality", "SOPClassUID", "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored"),
        *(
            "HighBit",
            "PixelRepresentation",
            "SamplesPerPixel",
            "PhotometricInterpretation",
            "PixelSpacing",
            "PixelData",
        ),
        *("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "FrameOfReferenceUID"),
        *("SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID", "EchoTime", "FlipAngle", "PatientName"),
        *("SpecificCharacterSet", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "StudyDate"),
    }
)
VALUES = st.sampled_from(
    [None, "", "0", "-1", "1e400", "NaN", "65535", "1\\2", "1\\2\\3", "a" * 300, "\0", "1.2.3", "ISO 2022 IR 87"]
)


@fuzz
@given(
    kind=st.sampled_from(["files", "enhanced"]),
    which=st.integers(0, SHAPE[0] - 1),
    changes=edits(2500),
    length=st.none() | st.integers(0, 4000),
)
@example(kind="files", which=0, changes=[(0, b"\x08\x00\x05\x00CS\x02\x00"), (128, b"none")], length=None)
@example(kind="files", which=0, changes=[], length=849)
def test_dicom_with_damaged_bytes_is_read_or_refused(
    series: Path, kind: str, which: int, changes: Edits, length: int | None
) -> None:
    with guarded():
        files = contents(series, kind)
        for number, content in enumerate(files):
            spoilt = number == which % len(files)
            in_folder(edited(content, changes)[:length] if spoilt else content, str(number))
        read_and_write(Path("in"))


@fuzz
@given(
    kind=st.sampled_from(["files", "enhanced"]),
    everywhere=st.booleans(),
    values=st.dictionaries(st.sampled_from(KEYWORDS), VALUES, min_size=1, max_size=3),
)
@example(kind="enhanced", everywhere=False, values={"NumberOfFrames": "1e400"})
def test_dicom_with_other_values_is_read_or_refused(
    series: Path, kind: str, everywhere: bool, values: dict[str, str | None]
) -> None:
    with guarded():
        for number, content in enumerate(contents(series, kind)):
            path = in_folder(content, str(number))
            if everywhere or number == 0:
                changed(path, values)
        read_and_write(Path("in"))


def changed(path: Path, values: dict[str, str | None]) -> None:
    """Put values, whatever their type, into a header as raw bytes; None takes an element away."""
    header = pydicom.dcmread(path)
    for keyword, value in values.items():
        if keyword in header:
            element = header[keyword]
            del header[keyword]
            if value is not None:
                kind = element.VR if isinstance(element.VR, str) and element.VR not in ("SQ", "OW") else "LO"
                content = value.encode()
                header[element.tag] = pydicom.dataelem.RawDataElement(
                    element.tag, kind, len(content), content + b" " * (len(content) % 2), 0, False, True
                )
    with contextlib.suppress(Exception):  # what cannot be written leaves the file as it is
        header.save_as(path.with_name("aside"))
        path.with_name("aside").replace(path)
    path.with_name("aside").unlink(missing_ok=True)


def read_and_write(folder: Path) -> None:
    image = inputs.read(next(iter(inputs.find([folder], Path("out")).values())))
    labels = np.ones(image.volume.array.shape, np.uint8)
    inputs.write_labels(Path("out/mask"), labels, CODES, image)
    inputs.write_for_archive(Path("out"), "mask", labels, dict.fromkeys(CODES, (255, 0, 0)), image)


# YAML

CONFIGURATION = (ROOT / "demo" / "config.yaml").read_text("utf-8")
PAPER = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
TOKENS = [
    "{",
    "[",
    "&a ",
    "*a",
    "!!python/object:os.system ",
    "\t",
    "- ",
    ": ",
    "'",
    "|",
    "\ufeff",
    "? ",
    "<<: ",
    "1e999",
]
MANY = st.builds(str.__mul__, st.text(min_size=1, max_size=3) | st.sampled_from(TOKENS), st.integers(2, 20_000))


@fuzz
@given(
    pieces=st.lists(
        st.tuples(st.integers(0, len(CONFIGURATION)), st.text(max_size=6) | st.sampled_from(TOKENS) | MANY), max_size=6
    ),
    encoding=st.sampled_from(["utf-8", "utf-16", "latin-1", "utf-8-sig"]),
)
@example(pieces=[(0, "[" * 100_000)], encoding="utf-8")
@example(pieces=[(0, "[\n" * 50_000)], encoding="utf-8")
@example(pieces=[(0, "a: &a [*a]\n")], encoding="utf-8")
@example(pieces=[(0, "".join(f"k{n}: &k{n} [{f'*k{n - 1},' * 9 if n else 1}]\n" for n in range(12)))], encoding="utf-8")
@example(pieces=[(0, "# ü\n")], encoding="latin-1")
@pytest.mark.slow
def test_damaged_configuration_is_read_or_refused(pieces: list[tuple[int, str]], encoding: str) -> None:
    text = CONFIGURATION
    for place, piece in pieces:
        text = text[:place] + piece + text[place:]
    with guarded():
        path = in_folder(text.encode(encoding, "replace"), "config.yaml")
        configuration_file.check(path)
        try:
            overlay = yaml.safe_load(path.read_bytes())
        except (yaml.YAMLError, ValueError):  # Snakemake reads the file before anything else does, and tells
            return
        configuration.check(overlaid(PAPER, overlay) if isinstance(overlay, dict) else overlay)


def overlaid(below: dict[Any, Any], above: dict[Any, Any]) -> dict[Any, Any]:
    """As Snakemake merges configurations."""
    merged = copy.copy(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlaid(merged[key], value) if both else value
    return merged


# Model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_model.find(write_results(tmp_path_factory.mktemp("results"), affine()))


@fuzz
@given(changes=edits(10**9), length=st.none() | st.floats(0, 1))
def test_model_with_damaged_bytes_is_read_or_refused(model: Path, changes: Edits, length: float | None) -> None:
    content = model.read_bytes()
    spoilt = edited(content, [(place % len(content), new) for place, new in changes])
    with guarded():
        trained_model.load(in_folder(spoilt if length is None else spoilt[: int(length * len(content))], "model.pt"))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@fuzz
@given(choices=st.lists(st.integers(0, 50), min_size=1, max_size=5), value=PLAIN)
@example(choices=[1, 0, 1, 3], value=10**9)
def test_model_with_another_value_is_read_or_refused(model: Path, choices: list[int], value: Any) -> None:
    """A value somewhere in the file, among settings or weights, is another."""
    content = checkpoints.load(model)
    section: Any = content
    for choice in choices:
        keys = list(section)
        key = keys[choice % len(keys)]
        if not isinstance(section[key], dict) or not section[key] or choice == choices[-1]:
            break
        section = section[key]
    section[key] = value
    with guarded():
        Path("in").mkdir()
        checkpoints.save("in/model.pt", content)
        loaded = trained_model.load("in/model.pt")
        assert loaded.structures and loaded.members


def test_harness_reports_errors_other_than_input_errors() -> None:
    with pytest.raises(KeyError), guarded():
        raise KeyError
    with pytest.raises(AssertionError), guarded():
        Path("elsewhere").touch()

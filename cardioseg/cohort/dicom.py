"""DICOM: reads a short-axis MR series as a volume, and writes labels as a segmentation that belongs to the series.

DICOM places voxels in patient mm towards left, posterior and superior (PS3.3 C.7.6.2.1.1). The affine of a volume
points right, anterior and superior. Only the geometry of a header gets into a volume.
"""

import io
import struct
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from highdicom import PatientSexValues, PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from pydicom import Dataset
from pydicom.misc import is_dicom
from pydicom.sr.codedict import codes
from pydicom.valuerep import DA, TM

from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume

POSITION_TOLERANCE_MM = 0.1
DIRECTION_TOLERANCE = 1e-3
LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))
# pydicom's errors for files that are damaged, lack a part of an image, or are compressed without a decoder.
UNREADABLE = (
    *(pydicom.errors.InvalidDicomError, AttributeError, EOFError, IndexError, KeyError, OSError, RuntimeError),
    *(TypeError, ValueError, struct.error),
)
SEGMENTATION_SERIES_NUMBER = 9000
# SNOMED CT codes of the paper's structures. Other structures differ by their labels alone.
ANATOMY = {
    "LV": codes.SCT.LeftVentricle,
    "MYO": codes.SCT.LeftVentricleMyocardium,
    "RV": codes.SCT.RightVentricle,
}
# For each frame: its functional group in enhanced files, the attribute, how many numbers it has, and their default.
FRAME_ATTRIBUTES = (
    ("PixelValueTransformationSequence", "RescaleSlope", 1, 1.0),
    ("PixelValueTransformationSequence", "RescaleIntercept", 1, 0.0),
    ("PlanePositionSequence", "ImagePositionPatient", 3),
    ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
    ("PixelMeasuresSequence", "PixelSpacing", 2),
)
IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
# Attributes of patient and study that every image has, empty if unknown (type 2), each with its check.
PATIENT_AND_STUDY = {
    **dict.fromkeys(("PatientID", "PatientName", "AccessionNumber", "StudyID", "ReferringPhysicianName"), str),
    **{"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM, "PatientSex": PatientSexValues},
}


@dataclass(frozen=True)
class Series:
    """A volume, and what a segmentation of it must refer to.

    Attributes
    ----------
    volume : Volume, shape (z, y, x)
        The images as one stack.
    sources : tuple of Dataset
        One header per file, with identifiers, patient, study and geometry only.
    frames : tuple of int
        For each slice of the volume, its index among the frames of all files.
    """

    volume: Volume
    sources: tuple[Dataset, ...]
    frames: tuple[int, ...]


@dataclass(frozen=True)
class _Frame:
    """One image (y, x) with its place.

    Attributes
    ----------
    position : ndarray, shape (3,)
        Centre of the first pixel in mm, LPS.
    directions : ndarray, shape (2, 3)
        Directions of the rows and of the columns, LPS.
    spacing : ndarray, shape (2,)
        Distance between rows and between columns in mm.
    """

    file: Path
    image: np.ndarray
    position: np.ndarray
    directions: np.ndarray
    spacing: np.ndarray
    frame_of_reference: str


def read_series(path: Path | str) -> Series:
    """Read a stack of MR images from single-frame files or an enhanced multi-frame file.

    Slices are sorted along their normal. Intensities are rescaled as the headers say.

    Parameters
    ----------
    path : Path or str
        A folder that holds one MR series, or several series of one slice each, which scanners make of breath-holds. All
        folders below are searched, and files of other kinds are ignored. Or a file, which stands for its series in its
        folder.

    Returns
    -------
    Series
        The stack as float32 (z, y, x), and its headers.

    Raises
    ------
    InputError
        The files are not one complete, straight, evenly spaced stack of grey images.
    """
    path = Path(path)
    with warnings.catch_warnings(action="ignore"):  # warnings quote malformed values, also a patient's name
        headers = {file: _read(file) for file in _series_files(path)}
        frames = {file: _frames(file, header) for file, header in headers.items()}
        stack = [frame for file in headers for frame in frames[file]]
        order, affine = _stack(path, stack)
        volume = Volume(np.stack([stack[index].image for index in order]), affine)
        volumes.check_short_axis(path, volume.array, volume.spacing)
        sources = [_source(headers[file], frames[file], stack[0], volume.spacing[0]) for file in headers]
    return Series(volume, tuple(sources), tuple(order))


def write_segmentation(path: Path | str, labels: np.ndarray, structures: Iterable[str], series: Series) -> None:
    """Write labels as a DICOM segmentation (PS3.3 A.51).

    It holds one segment per structure and one frame per slice and segment. It refers to the series' images, and carries
    their patient and study, because an archive files it by these.

    Parameters
    ----------
    path : Path or str
        The file to write.
    labels : ndarray of int, shape (z, y, x)
        0 is background, and 1, 2, ... are the structures in the order of `structures`.
    structures : iterable of str
        Names of the structures.
    series : Series
        The series that the labels were made of.

    Raises
    ------
    InputError
        The headers of the series are not those of MR images.
    """
    in_frame_order = np.empty_like(labels)
    in_frame_order[list(series.frames)] = labels
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="cardioseg", version=version("cardioseg"), family=codes.DCM.ArtificialIntelligence
    )
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=ANATOMY.get(name, codes.SCT.AnatomicalStructure),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(structures, start=1)
    ]
    positions, sources, others = None, series.sources, series.sources[:0]
    several = len({source.SeriesInstanceUID for source in sources}) > 1 or "NumberOfFrames" in sources[0]
    if several and len(sources) > 1:
        # highdicom can refer to single frames only within one series or one multi-frame file. Here it refers to files.
        positions = [position for source in sources for position in _positions(source)]
        sources, others = sources[:1], sources[1:]
    try:
        with warnings.catch_warnings(action="ignore"):  # as above
            segmentation = highdicom.seg.Segmentation(
                source_images=sources,
                further_source_images=others,
                plane_positions=positions,
                pixel_array=in_frame_order,
                segmentation_type="BINARY",
                segment_descriptions=segments,
                series_instance_uid=highdicom.UID(),
                series_number=SEGMENTATION_SERIES_NUMBER,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer="cardioseg",
                manufacturer_model_name="cardioseg",
                software_versions=version("cardioseg"),
                device_serial_number="0",
                content_label="SEGMENTATION",
                series_description="Segmentation by cardioseg",
                omit_empty_frames=False,
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be written: the series' headers are not those of MR images. Convert the series to NIfTI."
        ) from error
    content = io.BytesIO()
    segmentation.save_as(content)
    volumes.write_bytes(Path(path), content.getvalue())


def _series_files(path: Path) -> list[Path]:
    """Return the files of the MR series in a folder, or of the series that a file belongs to."""
    folder = path if path.is_dir() else path.parent
    series: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*") if path.is_dir() else folder.iterdir()):
        if not file.is_file():
            continue
        if file.stat().st_size == 0:
            raise InputError(f"{file}: is empty; it may have been a slice. Copy it again or remove it.")
        if not is_dicom(file):
            continue
        header = _read(file, ["Modality", "SeriesInstanceUID"])
        if header.file_meta.get("MediaStorageSOPClassUID") == pydicom.uid.MediaStorageDirectoryStorage:
            continue
        if "Modality" not in header or "SeriesInstanceUID" not in header:
            raise InputError(
                f"{file}: its header is cut off or damaged: it does not name a series. Copy the file again."
            )
        if header.Modality == "MR":
            series.setdefault(header.SeriesInstanceUID, []).append(file)
    if not path.is_dir():
        series = {name: files for name, files in series.items() if path in files}
    if not series:
        raise InputError(f"{path}: no MR image in DICOM found; expected a short-axis series.")
    if len(series) > 1 and any(len(files) > 1 for files in series.values()):
        found = ", ".join(f"{files[0].relative_to(path)} ({len(files)} files)" for files in series.values())
        raise InputError(
            f"{path}: holds {len(series)} MR series, among them {found}; expected one. Name its folder or one of its "
            "files."
        )
    return [file for files in series.values() for file in files]


def _read(file: Path, keywords: list[str] | None = None) -> Dataset:
    """Read a file, or only some keywords of its header."""
    try:
        return pydicom.dcmread(file, stop_before_pixels=keywords is not None, specific_tags=keywords)
    except UNREADABLE as error:
        raise InputError(f"{file}: cannot be read as DICOM, it is truncated or damaged. Copy it again.") from error


def _frames(file: Path, header: Dataset) -> list[_Frame]:
    """Return the images of a file: one, or one for each frame of an enhanced file."""
    if header.get("PhotometricInterpretation", "MONOCHROME2") != "MONOCHROME2":
        raise InputError(
            f"{file}: its pixels are {header.PhotometricInterpretation}; expected grey values (MONOCHROME2). Name the "
            "series as it was acquired."
        )
    pixels = _pixels(file, header)
    images = pixels[None] if pixels.ndim == 2 else pixels
    frames = []
    for number, stored in enumerate(images):
        slope, intercept, position, directions, spacing = (
            _numbers(file, header, number, *attribute) for attribute in FRAME_ATTRIBUTES
        )
        image = (stored * slope + intercept).astype(np.float32)
        frame = _Frame(file, image, position, directions.reshape(2, 3), spacing, header.get("FrameOfReferenceUID", ""))
        if not np.allclose(frame.directions @ frame.directions.T, np.eye(2), atol=DIRECTION_TOLERANCE):
            raise InputError(f"{file}: ImageOrientationPatient is not of two perpendicular unit vectors.")
        if frame.spacing.min() <= 0:
            raise InputError(f"{file}: PixelSpacing is {frame.spacing.tolist()}; expected mm above 0.")
        frames.append(frame)
    return frames


def _pixels(file: Path, header: Dataset) -> np.ndarray:
    """Return the stored values, (y, x) or (frames, y, x)."""
    if "PixelData" not in header:
        raise InputError(f"{file}: has no pixel data; expected an image. Copy or export the series again.")
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


def _positions(source: Dataset) -> list[PlanePositionSequence]:
    frames = source.get("PerFrameFunctionalGroupsSequence")
    positions = [frame.PlanePositionSequence[0] for frame in frames] if frames else [source]
    return [PlanePositionSequence("PATIENT", position.ImagePositionPatient) for position in positions]


def _source(header: Dataset, frames: Sequence[_Frame], first: _Frame, slice_spacing: float) -> Dataset:
    """Return what a segmentation needs of a file's header, in one form for all scanners; `first` stands for all."""
    source = Dataset()
    for name in IDENTIFIERS:
        if not header.get(name):
            raise InputError(f"{frames[0].file}: its header has no {name}. Export the series again.")
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
            ("frame of reference", frame.frame_of_reference == first.frame_of_reference),
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
    if gaps[widest] > 1.5 * np.median(gaps):
        below, above = (frames[index].file for index in order[widest : widest + 2])
        raise InputError(
            f"{path}: slices are {np.median(gaps):.3g} mm apart but {gaps[widest]:.3g} mm between {below} and {above}, "
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

"""DICOM series as a scanner might store them, made from arrays, and images turned as other scanners might store them.

Independent of cardioseg/cohort/dicom.py: positions are computed voxel by voxel from the affine.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import scipy.ndimage
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

# Attributes of the patient in the headers; no other file that is written may contain them.
PATIENT = {
    "PatientName": "Zweistein^Alberta",
    "PatientID": "PID-4711-0815",
    "PatientBirthDate": "19460228",
    "PatientSex": "F",
    "StudyDate": "20210314",
    "AccessionNumber": "ACC-99-123",
    "InstitutionName": "Hospital of Nowhere",
    "ReferringPhysicianName": "Watson^John",
}


def right_handed(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an array (z, y, x) and its affine with the slices in the order in which DICOM's axes are right-handed."""
    if np.linalg.det(affine[:3, :3]) > 0:
        return array, affine
    flip = np.eye(4)
    flip[2, 2:] = -1, len(array) - 1
    return array[::-1], affine @ flip


def rotated(array: np.ndarray, affine: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Resample slices by cubic splines on a grid rotated about the middle of each; the anatomy stays in place."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    spacing = np.linalg.norm(affine[:3, :2], axis=0)  # of x and y
    centre = (np.array(array.shape[:0:-1]) - 1) / 2
    turn = np.eye(4)
    turn[:2, :2] = np.diag(1 / spacing) @ np.array(((cos, -sin), (sin, cos))) @ np.diag(spacing)
    turn[:2, 3] = centre - turn[:2, :2] @ centre
    y, x = np.indices(array.shape[1:])
    there = turn[:2, :2] @ np.stack((x.ravel(), y.ravel())) + turn[:2, 3:]
    slices = [scipy.ndimage.map_coordinates(image.astype(float), there[::-1], order=3) for image in array]
    return np.reshape(slices, array.shape), affine @ turn


def stretched(array: np.ndarray, affine: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Resample slices by cubic splines to rows that are `factor` times as far apart, within the field of view."""
    rows = int(array.shape[1] // factor)
    offset = ((array.shape[1] - 1) - (rows - 1) * factor) / 2
    there = np.meshgrid(offset + factor * np.arange(rows), np.arange(array.shape[2]), indexing="ij")
    change = np.eye(4)
    change[1, 1], change[1, 3] = factor, offset
    slices = [scipy.ndimage.map_coordinates(image.astype(float), there, order=3) for image in array]
    return np.stack(slices), affine @ change


def permuted(array: np.ndarray, affine: np.ndarray, transpose: bool, flip_y: bool, flip_x: bool) -> tuple:
    """Store the same image with in-plane axes exchanged, then turned round; voxels keep their place in the patient."""
    change = np.eye(4)
    if transpose:
        array, change = array.transpose(0, 2, 1), change[:, [1, 0, 2, 3]]
    for flip, axis in ((flip_y, 1), (flip_x, 2)):
        if flip:
            array, turn = np.flip(array, axis), np.eye(4)
            column = 2 - axis
            turn[column, column], turn[column, 3] = -1, array.shape[axis] - 1
            change = change @ turn
    return array, affine @ change


def write_series(
    folder: Path,
    stored: np.ndarray,
    affine: np.ndarray,
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    change: Callable[[int, Dataset], object] = lambda index, header: None,
    names: Sequence[str] | None = None,
    series: str = "1.2.3.1",
) -> list[Path]:
    """Write one file a slice of stored values (z, y, x; uint16), without suffix and in shuffled order of names.

    affine: of (x, y, z), RAS, right-handed. change: does to the header of slice z what a test wants. Returns the files
    in the order of the slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"IM{number:04d}" for number in np.random.default_rng(7).permutation(len(stored))]
    files = []
    for index, (pixels, name) in enumerate(zip(stored, names, strict=True)):
        header = _header(folder / name, MRImageStorage, f"{series}.{index + 1}", series)
        _image(header, pixels)
        header.InstanceNumber = index + 1
        header.RescaleSlope, header.RescaleIntercept = slope, intercept
        header.ImagePositionPatient = _numbers(_position(affine, index))
        header.ImageOrientationPatient = _numbers(_directions(affine))
        header.PixelSpacing = _numbers(_spacing(affine))
        header.SliceThickness = 5.0
        change(index, header)
        header.save_as(folder / name, enforce_file_format=True)
        files.append(folder / name)
    return files


def write_enhanced(
    file: Path, stored: np.ndarray, affine: np.ndarray, *, slopes: Sequence[float], intercept: float = 0.0
) -> Path:
    """Write an enhanced multi-frame file of stored values (z, y, x; uint16), frames shuffled, with a slope each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(3).permutation(len(stored))
    header = _header(file, EnhancedMRImageStorage, "1.2.3.2.1", "1.2.3.2")
    _image(header, stored[order])
    header.NumberOfFrames = len(stored)
    header.SharedFunctionalGroupsSequence = [
        _group(
            PlaneOrientationSequence={"ImageOrientationPatient": _numbers(_directions(affine))},
            PixelMeasuresSequence={"PixelSpacing": _numbers(_spacing(affine)), "SliceThickness": 5.0},
        )
    ]
    header.PerFrameFunctionalGroupsSequence = [
        _group(
            PlanePositionSequence={"ImagePositionPatient": _numbers(_position(affine, index))},
            PixelValueTransformationSequence={"RescaleSlope": slopes[index], "RescaleIntercept": intercept},
        )
        for index in order
    ]
    header.save_as(file, enforce_file_format=True)
    return file


def _header(file: Path, kind: str, instance: str, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, instance
    header = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in PATIENT.items():
        setattr(header, name, value)
    header.SOPClassUID, header.SOPInstanceUID = kind, instance
    header.Modality, header.Manufacturer = "MR", "Scanner"
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3", series
    header.FrameOfReferenceUID = "1.2.3.9"
    header.StudyID, header.StudyTime, header.SeriesNumber = "1", "101112", 4
    return header


def _image(header: Dataset, pixels: np.ndarray) -> None:
    header.Rows, header.Columns = pixels.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()


def _group(**sequences: dict) -> Dataset:
    group = Dataset()
    for name, values in sequences.items():
        item = Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        setattr(group, name, pydicom.Sequence([item]))
    return group


def _position(affine: np.ndarray, index: int) -> np.ndarray:
    return (affine @ (0, 0, index, 1))[:3] * (-1, -1, 1)


def _directions(affine: np.ndarray) -> np.ndarray:
    columns = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    return (columns.T * (-1, -1, 1)).ravel()


def _spacing(affine: np.ndarray) -> np.ndarray:
    return np.linalg.norm(affine[:3, :2], axis=0)[::-1]


def _numbers(values: np.ndarray) -> list[str]:
    return [pydicom.valuerep.format_number_as_ds(float(value)) for value in values]

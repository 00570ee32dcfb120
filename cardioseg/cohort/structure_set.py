"""Labels as contours in a DICOM RT structure set (PS3.3 A.19), which belongs to the series that they were made from.

A structure with a hole, such as the myocardium, is drawn as one closed contour: a channel without width joins the hole
to the outline (the keyhole technique, PS3.3 C.8.8.6.3), which every program that fills contours understands.
"""

import io
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import contourpy
import highdicom
import numpy as np
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from cardioseg.cohort import dicom, dicom_segmentation
from cardioseg.cohort.dicom import LPS_TO_RAS, Series
from cardioseg.core import files

SERIES_NUMBER = dicom_segmentation.SERIES_NUMBER + 1
# The class by which a structure set refers to a study. It is retired, but the attribute must have a value.
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"


class _Place(NamedTuple):
    """Where a slice lies: the image that shows it, and the centre of its first pixel (LPS, mm)."""

    image: Dataset
    origin: np.ndarray


def write(path: Path | str, labels: np.ndarray, colours: Mapping[str, tuple[int, int, int]], series: Series) -> None:
    """Write labels as an RT structure set with one region per structure, and one contour per outline and slice.

    Contours run halfway between the centres of the pixels inside and outside. They are closed and planar, in the
    patient's mm, and each refers to the image that it was drawn on.

    Parameters
    ----------
    path : Path or str
        The file to write.
    labels : ndarray of int, shape (z, y, x)
        0 is background, and 1, 2, ... are the structures in the order of `colours`.
    colours : mapping of str to tuple of int
        The structures' names, with red, green and blue from 0 to 255.
    series : Series
        The series that the labels were made of.

    Raises
    ------
    InputError
        The headers of the series lack identifiers.
    """
    dicom.check_identifiers(path, series, "structure set")
    written = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # they quote malformed values, such as identifiers
        _structure_set(labels, colours, series).save_as(written, enforce_file_format=True)
    files.write_bytes(Path(path), written.getvalue())


def _structure_set(labels: np.ndarray, colours: Mapping[str, tuple[int, int, int]], series: Series) -> Dataset:
    contents = _about(series)
    contents.StructureSetROISequence, contents.ROIContourSequence, contents.RTROIObservationsSequence = [], [], []
    places = _places(series)
    columns, rows = (LPS_TO_RAS @ series.volume.affine)[:3, :2].T
    for number, (name, colour) in enumerate(colours.items(), start=1):
        contents.StructureSetROISequence.append(
            _dataset(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=series.sources[0].FrameOfReferenceUID,
                ROIName=name,
                ROIGenerationAlgorithm="AUTOMATIC",
                ROIGenerationDescription=f"cardioseg {version('cardioseg')}",
            )
        )
        drawn = [
            _contour(place, place.origin + points[:, :1] * columns + points[:, 1:] * rows)
            for place, mask in zip(places, labels == number, strict=True)
            for points in outlines(mask)
        ]
        contours = _dataset(ReferencedROINumber=number, ROIDisplayColor=list(colour))
        if drawn:
            contours.ContourSequence = drawn
        contents.ROIContourSequence.append(contours)
        observed = _dataset(
            ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="ORGAN", ROIInterpreter=""
        )
        if name in dicom_segmentation.ANATOMY:
            observed.RTROIIdentificationCodeSequence = [CodedConcept.from_code(dicom_segmentation.ANATOMY[name])]
        contents.RTROIObservationsSequence.append(observed)
    return contents


def outlines(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the outline of each part of a mask, with its holes joined to it.

    Parameters
    ----------
    mask : ndarray of bool, shape (y, x)
        A slice.

    Yields
    ------
    ndarray of shape (n, 2)
        The corners (x, y) in pixels, of a polygon that is closed from the last to the first.
    """
    generator = contourpy.contour_generator(z=np.pad(mask, 1).astype(float), fill_type="OuterOffset")
    for points, offsets in zip(*generator.filled(0.5, np.inf), strict=True):
        outline, *holes = (_corners(points[start : end - 1] - 1) for start, end in pairwise(offsets))
        while holes:
            distances = [np.linalg.norm(outline[:, None] - hole[None], axis=-1) for hole in holes]
            nearest = int(np.argmin([distance.min() for distance in distances]))
            here, there = np.unravel_index(distances[nearest].argmin(), distances[nearest].shape)
            hole = holes.pop(nearest)
            outline = np.concatenate([outline[: here + 1], hole[there:], hole[: there + 1], outline[here:]])
        yield outline


def _corners(ring: np.ndarray) -> np.ndarray:
    """Leave out the points of a closed line (n, 2) at which it goes straight on."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _places(series: Series) -> list[_Place]:
    """Return the places of the slices, in the order of the volume."""
    frames = []
    for source in series.sources:
        positions = dicom.positions(source)
        for number, position in enumerate(positions, start=1):
            image = _reference(source)
            if "NumberOfFrames" in source:
                image.ReferencedFrameNumber = number
            frames.append(_Place(image, np.array(position[0].ImagePositionPatient, float)))
    return [frames[index] for index in series.frames]


def _contour(place: _Place, points: np.ndarray) -> Dataset:
    return _dataset(
        ContourImageSequence=[place.image],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
        ContourData=[f"{value:.3f}" for value in points.ravel()],
    )


def _about(series: Series) -> Dataset:
    """Return what a structure set says of the patient, the study, itself and the images that it refers to."""
    first, now = series.sources[0], datetime.now()
    about = Dataset()
    about.file_meta = FileMetaDataset()
    about.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # which has no limit to the length of a contour
    about.SOPClassUID = about.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    about.SOPInstanceUID = about.file_meta.MediaStorageSOPInstanceUID = highdicom.UID()
    for name in ("SpecificCharacterSet", "StudyInstanceUID", "FrameOfReferenceUID", *dicom.PATIENT_AND_STUDY):
        setattr(about, name, first.get(name))
    about.Modality, about.SeriesInstanceUID, about.SeriesNumber = "RTSTRUCT", highdicom.UID(), SERIES_NUMBER
    about.SeriesDescription, about.InstanceNumber = "Contours by cardioseg", 1
    about.OperatorsName = about.PositionReferenceIndicator = ""
    about.Manufacturer = about.ManufacturerModelName = about.StructureSetLabel = "cardioseg"
    about.SoftwareVersions, about.ApprovalStatus = version("cardioseg"), "UNAPPROVED"
    about.StructureSetDate, about.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    images: dict[str, list[Dataset]] = {}
    for source in series.sources:
        images.setdefault(str(source.SeriesInstanceUID), []).append(_reference(source))
    study = _dataset(
        ReferencedSOPClassUID=STUDY_CLASS,
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[
            _dataset(SeriesInstanceUID=name, ContourImageSequence=shown) for name, shown in images.items()
        ],
    )
    about.ReferencedFrameOfReferenceSequence = [
        _dataset(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    ]
    return about


def _reference(source: Dataset) -> Dataset:
    return _dataset(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)


def _dataset(**values: object) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made

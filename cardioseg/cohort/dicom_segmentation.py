"""Labels as a DICOM segmentation (PS3.3 A.51), which belongs to the series that they were made from."""

import io
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import highdicom
import numpy as np
from pydicom.sr.codedict import codes

from cardioseg.cohort import dicom
from cardioseg.cohort.dicom import Series
from cardioseg.core import files
from cardioseg.core.errors import InputError

SERIES_NUMBER = 9000
# SNOMED CT codes of the paper's structures. Other structures differ by their labels alone.
ANATOMY = {
    "LV": codes.SCT.LeftVentricle,
    "MYO": codes.SCT.LeftVentricleMyocardium,
    "RV": codes.SCT.RightVentricle,
}


def write(path: Path | str, labels: np.ndarray, structures: Iterable[str], series: Series) -> None:
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
        The headers of the series are not those of MR images, or lack identifiers.
    """
    dicom.check_identifiers(path, series, "segmentation")
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
    planes, sources, others = None, series.sources, series.sources[:0]
    several = len({source.SeriesInstanceUID for source in sources}) > 1 or "NumberOfFrames" in sources[0]
    if several and len(sources) > 1:
        # highdicom can refer to single frames only within one series or one multi-frame file. Here it refers to files.
        planes = [position for source in sources for position in dicom.positions(source)]
        sources, others = sources[:1], sources[1:]
    try:
        with warnings.catch_warnings(action="ignore"):  # they quote malformed values, such as a patient's name
            segmentation = highdicom.seg.Segmentation(
                source_images=sources,
                further_source_images=others,
                plane_positions=planes,
                pixel_array=in_frame_order,
                segmentation_type="BINARY",
                segment_descriptions=segments,
                series_instance_uid=highdicom.UID(),
                series_number=SERIES_NUMBER,
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
            f"{path}: cannot be written: the series' headers are not those of MR images. The mask is there as NIfTI."
        ) from error
    content = io.BytesIO()
    segmentation.save_as(content)
    files.write_bytes(Path(path), content.getvalue())

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import dicom_files
from cardioseg.cohort import dicom, structure_set
from cardioseg.core.errors import InputError
from grids import affine
from polygons import inside

SHAPE = (5, 36, 40)
COLOURS = {"LV": (232, 96, 28), "MYO": (86, 180, 233), "RV": (240, 201, 41)}
MATRIX = affine((8.0, 1.25, 1.1))


def heart(shape=SHAPE):
    """A cavity (1) in a wall (2), which is open in one slice, with a crescent (3) beside it; nothing in the last."""
    y, x = np.ogrid[: shape[1], : shape[2]]
    distance = np.hypot(y - 17, x - 21)
    plane = np.select([distance < 6, distance < 10, (np.hypot(y - 17, x - 10) < 9)], [1, 2, 3], 0)
    labels = np.repeat(plane[None], shape[0], axis=0).astype(np.uint8)
    labels[1, :, 25:][labels[1, :, 25:] == 2] = 0
    labels[-1] = 0
    return labels


def write(folder, labels, enhanced=False, **options):
    stored = np.random.default_rng(0).integers(0, 999, labels.shape).astype(np.uint16)
    if enhanced:
        dicom_files.write_enhanced(folder / "enhanced", stored, MATRIX, slopes=[1] * len(stored))
    else:
        dicom_files.write_series(folder, stored, MATRIX, **options)
    structure_set.write(folder.parent / "contours.dcm", labels, COLOURS, dicom.read_series(folder))
    return pydicom.dcmread(folder.parent / "contours.dcm")


def filled(contents, shape):
    """The labels whose pixel centres lie in the contours, by the rule of odd crossings, in the grid of `MATRIX`."""
    to_index = np.linalg.inv(np.diag((-1.0, -1, 1, 1)) @ MATRIX)
    labels = np.zeros(shape, np.uint8)
    for region in contents.ROIContourSequence:
        for contour in region.get("ContourSequence", []):
            points = np.reshape(np.array(contour.ContourData, float), (-1, 3))
            assert len(points) == contour.NumberOfContourPoints >= 4
            index = points @ to_index[:3, :3].T + to_index[:3, 3]
            z = round(index[0, 2])
            np.testing.assert_allclose(index[:, 2], z, atol=1e-3)  # in the plane of the slice
            labels[z][inside(index[:, :2], shape[1:])] = region.ReferencedROINumber
    return labels


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "study"


@pytest.mark.parametrize("enhanced", [False, True])
def test_contours_filled_again_are_the_mask(folder, enhanced):
    contents = write(folder, heart(), enhanced)
    np.testing.assert_array_equal(filled(contents, SHAPE), heart())


def test_each_contour_refers_to_the_image_of_its_slice(folder):
    contents = write(folder, heart())
    positions = {}
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        positions[header.SOPInstanceUID] = np.array(header.ImagePositionPatient, float), header
    first = next(header for _, header in positions.values())
    normal = np.cross(first.ImageOrientationPatient[:3], first.ImageOrientationPatient[3:])
    count = 0
    for region in contents.ROIContourSequence:
        for contour in region.ContourSequence:
            (image,) = contour.ContourImageSequence
            position, header = positions[image.ReferencedSOPInstanceUID]
            assert image.ReferencedSOPClassUID == header.SOPClassUID
            assert "ReferencedFrameNumber" not in image
            offsets = np.reshape(np.array(contour.ContourData, float), (-1, 3)) - position
            np.testing.assert_allclose(offsets @ normal, 0, atol=2e-3)
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            count += 1
    assert count >= 12
    (frame,) = contents.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == first.StudyInstanceUID
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert {image.ReferencedSOPInstanceUID for image in series.ContourImageSequence} == set(positions)


def test_frames_of_an_enhanced_file_are_told_by_number(folder):
    contents = write(folder, heart(), enhanced=True)
    for contour in contents.ROIContourSequence[0].ContourSequence:
        (image,) = contour.ContourImageSequence
        assert image.ReferencedSOPInstanceUID == "1.2.3.2.1"
        header = pydicom.dcmread(next(folder.rglob("enhanced*")))
        frame = header.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1]
        position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        normal = np.cross(MATRIX[:3, 0], MATRIX[:3, 1]) * (-1, -1, 1)
        point = np.array(contour.ContourData[:3], float)
        assert (point - position) @ normal / np.linalg.norm(normal) == pytest.approx(0, abs=2e-3)


def test_breath_holds_are_referred_to_series_by_series(folder):
    def change(index, header):
        header.SeriesInstanceUID = f"1.2.3.{50 + index}"

    contents = write(folder, heart(), change=change)
    study = contents.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    named = {series.SeriesInstanceUID: len(series.ContourImageSequence) for series in study.RTReferencedSeriesSequence}
    assert named == {f"1.2.3.{50 + index}": 1 for index in range(5)}
    np.testing.assert_array_equal(filled(contents, SHAPE), heart())


def test_regions_have_names_and_colours(folder):
    contents = write(folder, heart())
    assert {region.ROINumber: region.ROIName for region in contents.StructureSetROISequence} == {
        1: "LV",
        2: "MYO",
        3: "RV",
    }
    colours = {region.ReferencedROINumber: tuple(region.ROIDisplayColor) for region in contents.ROIContourSequence}
    assert colours == dict(enumerate(COLOURS.values(), start=1))
    observed = {each.ReferencedROINumber: each for each in contents.RTROIObservationsSequence}
    assert set(observed) == {1, 2, 3}
    assert observed[1].RTROIIdentificationCodeSequence[0].CodeMeaning == "Left ventricle"


def test_wall_with_a_cavity_is_one_contour(folder):
    contours = write(folder, heart()).ROIContourSequence[1].ContourSequence
    assert len(contours) == 4  # one in each slice with labels
    assert len(write(folder, np.zeros_like(heart())).ROIContourSequence[1].get("ContourSequence", [])) == 0


def test_structure_set_belongs_to_patient_and_study(folder):
    contents = write(folder, heart())
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber"):
        assert contents[name].value == dicom_files.PATIENT[name]
    assert (contents.Modality, contents.ApprovalStatus) == ("RTSTRUCT", "UNAPPROVED")
    assert contents.SOPClassUID.name == "RT Structure Set Storage"
    assert contents.SeriesInstanceUID != "1.2.3.1"


def test_structure_set_beside_its_series_is_no_image(folder):
    write(folder, heart())
    (folder.parent / "contours.dcm").rename(folder / "contours.dcm")
    assert dicom.read_series(folder).volume.array.shape == SHAPE


def test_malformed_identifier_is_referred_to_without_a_warning(folder):
    """A warning would quote it. pytest makes each an error here."""

    def change(index, header):
        header.SOPInstanceUID = f"-{index}"

    with pydicom.config.disable_value_validation():
        stored = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.uint16)
        dicom_files.write_series(folder, stored, MATRIX, change=change)
    structure_set.write(folder.parent / "contours.dcm", heart(), COLOURS, dicom.read_series(folder))
    assert b"-3" in (folder.parent / "contours.dcm").read_bytes()


def test_series_without_an_identifier_is_refused(folder):
    def change(index, header):
        del header.FrameOfReferenceUID

    with pytest.raises(InputError, match="have no FrameOfReferenceUID, by which a DICOM structure set"):
        write(folder, heart(), change=change)
    assert not (folder.parent / "contours.dcm").exists()


@given(arrays(bool, (9, 8), elements=st.booleans()))
def test_any_mask_comes_back_from_its_outlines(mask):
    """Whatever parts and holes it has, holes within holes included."""
    found = np.zeros_like(mask)
    for outline in structure_set.outlines(mask):
        assert not (found & inside(outline, mask.shape)).any()
        found |= inside(outline, mask.shape)
    np.testing.assert_array_equal(found, mask)

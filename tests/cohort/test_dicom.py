import gzip
import warnings

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import JPEGLosslessSV1, RLELossless

import dicom_files
from cardioseg.cohort import dicom, dicom_segmentation
from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from grids import affine

SHAPE = (5, 36, 40)
CODES = {"LV": 500, "MYO": 200, "RV": 600}
SLOPE, INTERCEPT = 0.37, -12.5


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "study"


def stored(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 4096, shape).astype(np.uint16)


def labels(shape=SHAPE, seed=1):
    return np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)


def stack_affine(spacing=(8.0, 1.25, 1.1)):
    """Oblique, anisotropic, right-handed."""
    return affine(spacing)


def failure(path):
    with pytest.raises(InputError) as caught:
        dicom.read_series(path)
    return str(caught.value)


def rewrite(file, **values):
    header = pydicom.dcmread(file)
    for name, value in values.items():
        setattr(header, name, value)
    header.save_as(file)


def cut(file, part):
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])


def placed(segmentation_file):
    """A segmentation as highdicom reads it: its label (0 for none) at each position (RAS, mm, to 1e-3) of its grid."""
    volume = highdicom.seg.segread(segmentation_file).get_volume(combine_segments=True)
    index = np.indices(volume.array.shape).reshape(3, -1).T
    positions = volume.map_indices_to_reference(index) * (-1, -1, 1)
    return dict(zip(map(tuple, np.rint(positions * 1e3).astype(int)), volume.array.ravel(), strict=True))


def expected_placed(array, matrix):
    z, y, x = np.indices(array.shape).reshape(3, -1)
    positions = (matrix @ np.stack((x, y, z, np.ones_like(x))))[:3].T
    return dict(zip(map(tuple, np.rint(positions * 1e3).astype(int)), array.ravel(), strict=True))


# Series


@pytest.mark.parametrize("turn", [(False, False, False), (True, False, True), (False, True, True), (True, True, False)])
def test_series_equals_the_same_image_in_nifti(folder, tmp_path, turn):
    array, matrix = dicom_files.right_handed(*dicom_files.permuted(stored(), stack_affine(), *turn))
    dicom_files.write_series(folder / "a" / "b", array, matrix, slope=SLOPE, intercept=INTERCEPT)
    (folder / "notes.txt").write_text("no DICOM")
    (folder / "a" / ".hidden").write_bytes(b"\0" * 200)
    image = nib.Nifti1Image((array * SLOPE + INTERCEPT).astype(np.float32).T, matrix)
    nib.save(image, tmp_path / "image.nii")
    nifti = volumes.read_image(tmp_path / "image.nii")
    volume = dicom.read_series(folder).volume
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, nifti.array)
    np.testing.assert_allclose(volume.affine, nifti.affine, atol=1e-4)
    assert volume.notes == ()


def test_series_equals_what_simpleitk_reads(folder):
    dicom_files.write_series(folder, stored(), stack_affine(), slope=SLOPE, intercept=INTERCEPT)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    volume = dicom.read_series(folder).volume
    np.testing.assert_allclose(volume.array, SimpleITK.GetArrayFromImage(image), atol=1e-3)
    for index in [(0, 0, 0), (39, 0, 0), (0, 35, 0), (3, 7, 4)]:
        position = np.array(image.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
        np.testing.assert_allclose((volume.affine @ (*index, 1))[:3], position, atol=1e-4)


def test_enhanced_file_has_its_values_and_geometry(folder):
    slopes = np.linspace(0.5, 2, len(stored()))
    file = dicom_files.write_enhanced(folder / "enhanced", stored(), stack_affine(), slopes=slopes, intercept=-3)
    for path in (folder, file):
        volume = dicom.read_series(path).volume
        np.testing.assert_allclose(volume.array, stored() * slopes[:, None, None] - 3, rtol=1e-6)
        np.testing.assert_allclose(volume.affine, stack_affine(), atol=1e-4)


def test_signed_values_without_rescaling_are_read(folder):
    def change(index, header):
        header.PixelRepresentation = 1
        del header.RescaleSlope, header.RescaleIntercept

    values = stored().astype(np.int16) - 2000
    dicom_files.write_series(folder, values.view(np.uint16), stack_affine(), change=change)
    np.testing.assert_array_equal(dicom.read_series(folder).volume.array, values)


def test_file_stands_for_its_series(folder):
    first = dicom_files.write_series(folder, stored(), stack_affine())
    names = [f"other{index}" for index in range(4)]
    second = dicom_files.write_series(folder, stored((4, 40, 44), 5), stack_affine(), names=names, series="1.2.3.7")
    np.testing.assert_array_equal(dicom.read_series(first[2]).volume.array, stored())
    np.testing.assert_array_equal(dicom.read_series(second[0]).volume.array, stored((4, 40, 44), 5))
    message = failure(folder)
    assert "2 MR series" in message and "5 images" in message and f"4 images, {second[0]}" in message
    assert "in place of the folder" in message


def test_series_in_one_folder_are_told_apart_also_in_files_of_many_frames(folder):
    for number, words in ((5, "PSIR LGE"), (12, "cine")):
        file = dicom_files.write_enhanced(folder / str(number), stored(), stack_affine(), slopes=np.ones(5))
        rewrite(file, SeriesInstanceUID=f"1.2.3.{number}", SeriesNumber=number, SeriesDescription=words)
    message = failure(folder)
    assert "2 MR series" in message
    assert f"series 5 PSIR LGE: 5 images, {folder / '5'}" in message
    assert f"series 12 cine: 5 images, {folder / '12'}" in message


def test_breath_holds_of_one_slice_each_are_one_stack(folder, tmp_path):
    def change(index, header):
        header.SeriesInstanceUID = f"1.2.3.{50 + index}"

    dicom_files.write_series(folder, stored(), stack_affine(), change=change)
    series = dicom.read_series(folder)
    np.testing.assert_array_equal(series.volume.array, stored())
    dicom_segmentation.write(tmp_path / "mask.dcm", labels(), CODES, series)
    assert placed(tmp_path / "mask.dcm") == expected_placed(labels(), stack_affine())
    referred = highdicom.seg.segread(tmp_path / "mask.dcm").get_source_image_uids()
    assert {str(uid) for *_, uid in referred} == {f"1.2.3.1.{index + 1}" for index in range(5)}


def test_series_that_are_no_mr_images_are_passed_over(folder, tmp_path):
    dicom_files.write_series(folder, stored(), stack_affine())
    dicom_segmentation.write(folder / "mask", labels(), CODES, dicom.read_series(folder))
    np.testing.assert_array_equal(dicom.read_series(folder).volume.array, stored())


@pytest.mark.parametrize("syntax", ["RLE", "JPEG"])
def test_compressed_series_is_read(folder, tmp_path, syntax):
    """Archives store images as lossless JPEG. SimpleITK, which has an encoder, writes the file."""
    for file in dicom_files.write_series(folder, stored(), stack_affine()):
        if syntax == "RLE":
            header = pydicom.dcmread(file)
            header.compress(RLELossless)
            header.save_as(file)
            continue
        writer = SimpleITK.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(tmp_path / "compressed.dcm"))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(SimpleITK.GetImageFromArray(pydicom.dcmread(file).pixel_array))
        compressed, header = pydicom.dcmread(tmp_path / "compressed.dcm"), pydicom.dcmread(file)
        assert compressed.file_meta.TransferSyntaxUID == JPEGLosslessSV1
        header.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        header.PixelData = compressed.PixelData
        header["PixelData"].is_undefined_length = True
        header.save_as(file)
    np.testing.assert_array_equal(dicom.read_series(folder).volume.array, stored())


# Faults


def duplicate(files):
    """A second phase: every slice once more, with the same position."""
    for number, file in enumerate(files):
        header = pydicom.dcmread(file)
        header.SOPInstanceUID = f"1.2.3.1.{100 + number}"
        header.save_as(file.with_name(f"second{number}"))


def colour(file):
    rewrite(file, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)


def compressed(file):
    header = pydicom.dcmread(file)
    header.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    header.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 no picture \xff\xd9"])
    header["PixelData"].is_undefined_length = True
    header.save_as(file)


def without(file, name):
    header = pydicom.dcmread(file)
    delattr(header, name)
    header.save_as(file)


def with_slope(file, value):
    file.write_bytes(file.read_bytes().replace(b"DS\x04\x000.37", b"DS\x04\x00" + value))


def shifted(file, millimetres):
    position = pydicom.dcmread(file).ImagePositionPatient
    rewrite(file, ImagePositionPatient=[position[0] + millimetres, *position[1:]])


def differing(name, own, others):
    """Give one file another value of an attribute than the others."""

    def spoil(file):
        for each in file.parent.iterdir():
            rewrite(each, **{name: own if each == file else others})

    return spoil


FAULTS_OF_A_FILE = {
    "orientation": (lambda file: rewrite(file, ImageOrientationPatient=[1, 0, 0, 0, 0, 1]), "its orientation differs"),
    "pixel spacing": (lambda file: rewrite(file, PixelSpacing=[1.25, 1.3]), "its pixel spacing differs"),
    "matrix": (lambda file: rewrite(file, Rows=18, Columns=80), "its matrix differs"),
    "frame of reference": (lambda file: rewrite(file, FrameOfReferenceUID="1.2.9"), "its frame of reference differs"),
    "colour": (colour, "RGB; expected grey values"),
    "compressed": (compressed, "compressed as JPEG Lossless"),
    "empty": (lambda file: file.write_bytes(b""), "is empty"),
    "truncated pixels": (lambda file: cut(file, 0.7), "truncated or damaged"),
    "truncated header": (lambda file: cut(file, 0.1), "Copy"),
    "no bits": (lambda file: without(file, "BitsStored"), "its header has no BitsStored"),
    "no pixels": (lambda file: without(file, "PixelData"), "no pixel data"),
    "no position": (lambda file: without(file, "ImagePositionPatient"), "no valid ImagePositionPatient"),
    "no orientation": (lambda file: rewrite(file, ImageOrientationPatient=None), "no valid ImageOrientationPatient"),
    "short spacing": (lambda file: rewrite(file, PixelSpacing="1.25"), "no valid PixelSpacing"),
    "bad slope": (lambda file: with_slope(file, b"abc "), "no valid RescaleSlope"),
    "zero spacing": (lambda file: rewrite(file, PixelSpacing=[0, 1.1]), "expected mm above 0"),
    "phase": (lambda file: rewrite(file, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]), "of the signal's phase"),
    "another study": (lambda file: rewrite(file, StudyInstanceUID="1.9"), "its StudyInstanceUID differs"),
    "another echo": (differing("EchoTime", 2.0, 1.5), "its EchoTime differs"),
    "another patient": (differing("PatientID", "1001", "1002"), "its PatientID differs"),
    "another patient, zeros apart": (differing("PatientID", "01", "1"), "its PatientID differs"),
    "a million pixels a side": (lambda file: rewrite(file, Rows=65535, Columns=65535), "expected at most"),
    "no modality": (lambda file: rewrite(file, Modality="", SOPClassUID="1.2.3"), "its header has no Modality"),
    "skewed": (lambda file: rewrite(file, ImageOrientationPatient=[1, 0, 0, 1, 1, 0]), "two perpendicular"),
}


@pytest.mark.parametrize("fault", FAULTS_OF_A_FILE)
def test_fault_of_a_file_is_named_with_the_file(folder, fault):
    spoil, expected = FAULTS_OF_A_FILE[fault]
    file = dicom_files.write_series(folder, stored(), stack_affine(), slope=SLOPE)[2]
    spoil(file)
    message = failure(folder)
    assert expected in message
    assert str(file) in message


@pytest.mark.parametrize("name", ["StudyInstanceUID", "PatientID"])
def test_error_does_not_tell_who_the_patient_is(folder, name):
    file = dicom_files.write_series(folder, stored(), stack_affine())[2]
    differing(name, "1.2.4711", "1.2.4712")(file)
    assert f"its {name} differs from that of" in failure(folder)
    assert "471" not in failure(folder)


@pytest.mark.parametrize(("name", "own", "others"), [("EchoTime", 1.8, 1.5), ("FlipAngle", 22, 20)])
def test_what_is_measured_may_differ_a_little(folder, name, own, others):
    file = dicom_files.write_series(folder, stored(), stack_affine())[2]
    differing(name, own, others)(file)
    assert dicom.read_series(folder).volume.array.shape == SHAPE


FAULTS_OF_A_SERIES = {
    "several phases": (duplicate, "10 images at 5 slice positions"),
    "missing slice": (lambda files: files[2].unlink(), "8 mm apart but 16 mm between"),
    "missing slice of four": (lambda files: [files[0].unlink(), files[2].unlink()], "8 mm apart but 16 mm between"),
    "uneven": (lambda files: shifted(files[2], 1.0), "off an evenly spaced, straight stack"),
    "one image": (lambda files: [file.unlink() for file in files[1:]], "one image"),
    "no DICOM": (lambda files: [file.write_text("text") for file in files], "no MR image"),
    "another modality": (lambda files: [rewrite(file, Modality="CT") for file in files], "no MR image"),
    "constant": (lambda files: [rewrite(file, RescaleSlope=0) for file in files], "every voxel is 0"),
    "coarse pixels": (lambda files: [rewrite(file, PixelSpacing=[9, 9]) for file in files], "pixels of 9 x 9 mm"),
}


@pytest.mark.parametrize("fault", FAULTS_OF_A_SERIES)
def test_fault_of_a_series_is_named_with_its_folder(folder, fault):
    spoil, expected = FAULTS_OF_A_SERIES[fault]
    spoil(dicom_files.write_series(folder, stored(), stack_affine()))
    message = failure(folder)
    assert expected in message
    assert str(folder) in message


def test_file_that_is_no_image_is_refused(folder):
    dicom_files.write_series(folder, stored(), stack_affine())
    (folder / "notes.txt").write_text("no DICOM")
    assert "notes.txt: no MR image" in failure(folder / "notes.txt")


def test_file_truncated_anywhere_is_refused(folder):
    """The error names the file. No slice is left out silently."""
    file = dicom_files.write_series(folder, stored(), stack_affine())[-1]
    content = file.read_bytes()
    for length in [*range(132, len(content) - 2000, 97), len(content) - 1]:
        file.write_bytes(content[:length])
        assert str(file) in failure(folder), length


def as_link(file):
    file.unlink()
    file.symlink_to("nowhere")


def as_gzip(file):
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()


LOST_LAST_SLICES = {
    "link to nothing": ("", as_link, "a link to a file that is missing"),
    "zeros": ("", lambda file: file.write_bytes(bytes(9999)), "zeros alone"),
    "cut to 100 bytes": ("", lambda file: file.write_bytes(file.read_bytes()[:100]), "zeros alone"),
    "cut, with a filled preamble": (".mr", lambda file: file.write_bytes(b"II*\0" * 25), "is cut off"),
    "cut, without a suffix": ("", lambda file: file.write_bytes(b"II*\0" * 25), "is cut off"),
    "compressed": (".dcm", as_gzip, "is not DICOM, or compressed"),
    "text in its place": (".IMA", lambda file: file.write_text("moved to the archive" * 9), "is not DICOM"),
    "empty": ("", lambda file: file.write_bytes(b""), "is empty"),
}


@pytest.mark.parametrize(("suffix", "lose", "expected"), LOST_LAST_SLICES.values(), ids=LOST_LAST_SLICES)
def test_lost_last_slice_is_named(folder, suffix, lose, expected):
    """No gap in the stack tells."""
    files = dicom_files.write_series(folder, stored(), stack_affine(), names=[f"{index}{suffix}" for index in range(5)])
    lose(files[-1])
    message = failure(folder)
    assert str(files[-1]) in message
    assert expected in message
    assert message == failure(files[0])


def test_files_of_other_programs_beside_a_series_are_ignored(folder):
    files = dicom_files.write_series(folder, stored(), stack_affine())
    for name, content in [
        *(
            ("README", b"read me"),
            ("notes.txt", b"II*\0"),
            (".DS_Store", bytes(200)),
            ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
        ),
        *(("._0.dcm", b"\0\5\x16\7"), ("sheet.pdf", b"%PDF" * 99)),
    ]:
        (folder / name).write_bytes(content)
    for path in (folder, files[0]):
        np.testing.assert_array_equal(dicom.read_series(path).volume.array, stored())


def phase(files):
    """A phase image beside each, of the same place."""
    for number, file in enumerate(files):
        rewrite(file, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"])
        header = pydicom.dcmread(file)
        header.SOPInstanceUID, header.ImageType = f"1.2.3.1.{200 + number}", ["ORIGINAL", "PRIMARY", "P", "ND"]
        header.PixelData = bytes(len(header.PixelData))
        header.save_as(file.with_name(f"phase{number}"))


def test_phase_images_beside_a_stack_are_passed_over(folder, tmp_path):
    phase(dicom_files.write_series(folder, stored(), stack_affine()))
    series = dicom.read_series(folder)
    np.testing.assert_array_equal(series.volume.array, stored())
    assert series.volume.notes == ("images of the signal's phase are passed over",)
    dicom_segmentation.write(tmp_path / "mask.dcm", labels(), CODES, series)
    assert placed(tmp_path / "mask.dcm") == expected_placed(labels(), stack_affine())


def test_phase_image_in_the_place_of_a_magnitude_image_is_refused(folder):
    files = dicom_files.write_series(folder, stored(), stack_affine())
    phase(files)
    files[2].unlink()
    assert "expected images of one kind" in failure(folder)


@pytest.mark.parametrize("word", ["M_FFE", "MAGNITUDE", "OTHER"])
def test_vendors_words_for_magnitude_are_known(folder, word):
    dicom_files.write_series(
        folder, stored(), stack_affine(), change=lambda index, header: setattr(header, "ImageType", ["A", "B", word])
    )
    assert dicom.read_series(folder).volume.notes == ()


def test_phase_images_alone_are_noted(folder):
    def change(index, header):
        header.ImageType = ["ORIGINAL", "PRIMARY", "PHASE MAP"]

    dicom_files.write_series(folder, stored(), stack_affine(), change=change)
    assert dicom.read_series(folder).volume.notes == ("images of the signal's phase",)


def test_slices_of_two_series_are_noted(folder):
    """Each slice is a series of its own, as of breath-holds, and all have one geometry."""

    def change(index, header):
        header.SeriesInstanceUID = f"1.2.3.{50 + index}"
        header.SeriesDescription = f"{'cine' if index % 2 else 'LGE'} {index}"

    dicom_files.write_series(folder, stored(), stack_affine(), change=change)
    (note,) = dicom.read_series(folder).volume.notes
    assert note.startswith("SeriesDescription differs")


RAW_DATA = "1.2.840.10008.5.1.4.1.1.66"


@pytest.mark.parametrize(
    ("kind", "modality", "claimed"),
    [
        (RAW_DATA, "MR", RAW_DATA),
        (RAW_DATA, "MR", pydicom.uid.MRImageStorage),
        (pydicom.uid.MRImageStorage, "MR", RAW_DATA),
        ("1.2.840.10008.5.1.4.1.1.11.1", "PR", None),  # presentation state
        ("1.3.46.670589.11.0.0.12.4", "MR", None),  # a vendor's own
    ],
)
def test_objects_that_are_no_images_are_passed_over(folder, kind, modality, claimed):
    """Whether the meta header says so, too, or claims another kind."""
    files = dicom_files.write_series(folder, stored(), stack_affine())
    header = pydicom.dcmread(files[0])
    header.Modality, header.SOPClassUID, header.file_meta.MediaStorageSOPClassUID = modality, kind, claimed or kind
    for name in ("PixelData", "Rows", "Columns"):
        delattr(header, name)
    header.save_as(folder / "raw")
    np.testing.assert_array_equal(dicom.read_series(folder).volume.array, stored())


def test_image_whose_meta_header_claims_another_kind_is_a_slice(folder):
    files = dicom_files.write_series(folder, stored(), stack_affine())
    header = pydicom.dcmread(files[0])
    header.file_meta.MediaStorageSOPClassUID = RAW_DATA
    header.save_as(files[0])
    np.testing.assert_array_equal(dicom.read_series(folder).volume.array, stored())


def test_object_without_an_image_that_is_named_is_called_what_it_is(folder):
    file = dicom_files.write_enhanced(folder / "file", stored(), stack_affine(), slopes=[1] * 5)
    header = pydicom.dcmread(file)
    header.SOPClassUID = RAW_DATA
    del header.PixelData
    header.save_as(file)
    assert "holds no image (Raw Data Storage). Name the file of the image" in failure(file)


def test_frame_of_reference_that_some_files_lack_is_no_difference(folder):
    files = dicom_files.write_series(folder, stored(), stack_affine())
    without(files[2], "FrameOfReferenceUID")
    np.testing.assert_array_equal(dicom.read_series(folder).volume.array, stored())
    rewrite(files[3], FrameOfReferenceUID="1.2.3.10")
    assert "its frame of reference differs" in failure(folder)


def test_file_of_several_frames_is_an_image_alone(folder):
    file = dicom_files.write_enhanced(folder / "enhanced", stored(), stack_affine(), slopes=[1] * 5)
    other = dicom_files.write_enhanced(folder / "other", stored(seed=3), stack_affine(), slopes=[1] * 5)
    (folder / "broken").touch()
    np.testing.assert_array_equal(dicom.read_series(file).volume.array, stored())
    np.testing.assert_array_equal(dicom.read_series(other).volume.array, stored(seed=3))


@pytest.mark.parametrize("name", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_series_without_an_identifier_has_a_volume_and_no_segmentation(folder, tmp_path, name):
    for file in dicom_files.write_series(folder, stored(), stack_affine()):
        without(file, name)
    series = dicom.read_series(folder)
    np.testing.assert_array_equal(series.volume.array, stored())
    with pytest.raises(InputError, match=f"have no {name}"):
        dicom_segmentation.write(tmp_path / "mask.dcm", labels(), CODES, series)
    assert not (tmp_path / "mask.dcm").exists()


def test_modality_is_told_by_the_class_where_the_header_lacks_it(folder):
    for file in dicom_files.write_series(folder, stored(), stack_affine()):
        without(file, "Modality")
    np.testing.assert_array_equal(dicom.read_series(folder).volume.array, stored())


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_a_preamble_are_read(folder, implicit):
    for file in dicom_files.write_series(folder, stored(), stack_affine()):
        header = pydicom.dcmread(file)
        plain = pydicom.Dataset(header)
        plain.save_as(file, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        assert file.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(dicom.read_series(folder).volume.array, stored())


def test_series_in_a_folder_are_listed_with_their_descriptions(folder):
    def change(index, header):
        header.SeriesDescription = "LGE SA"

    dicom_files.write_series(folder / "a", stored(), stack_affine(), change=change)
    dicom_files.write_series(folder / "b", stored(), stack_affine(), series="1.2.3.7")
    assert f"series 4 LGE SA: 5 images, {folder}/a/" in failure(folder)


# Segmentations


@pytest.mark.parametrize("enhanced", [False, True])
def test_segmentation_read_back_has_the_labels_and_refers_to_the_series(folder, tmp_path, enhanced):
    if enhanced:
        dicom_files.write_enhanced(folder / "enhanced", stored(), stack_affine(), slopes=[1] * 5)
    else:
        dicom_files.write_series(folder, stored(), stack_affine())
    dicom_segmentation.write(tmp_path / "mask.dcm", labels(), CODES, dicom.read_series(folder))
    assert [file.name for file in tmp_path.glob("*mask*")] == ["mask.dcm"]
    assert placed(tmp_path / "mask.dcm") == expected_placed(labels(), stack_affine())
    segmentation = highdicom.seg.segread(tmp_path / "mask.dcm")
    assert [segmentation.get_segment_description(number).segment_label for number in (1, 2, 3)] == list(CODES)
    instances = {str(uid) for *_, uid in segmentation.get_source_image_uids()}
    assert instances == ({"1.2.3.2.1"} if enhanced else {f"1.2.3.1.{index + 1}" for index in range(5)})
    if not enhanced:
        referred = segmentation.get_pixels_by_source_instance(
            [f"1.2.3.1.{z + 1}" for z in range(5)], combine_segments=True
        )
        np.testing.assert_array_equal(referred, labels())


def test_enhanced_files_of_a_few_frames_each_are_one_stack(folder, tmp_path):
    """One series has two slices in its first file and three in its second."""
    array = stored()
    dicom_files.write_enhanced(folder / "first", array[:2], stack_affine(), slopes=[1, 1])
    above = stack_affine() @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]])
    dicom_files.write_enhanced(folder / "second", array[2:], above, slopes=[1, 1, 1])
    rewrite(folder / "second", SOPInstanceUID="1.2.3.2.2")
    series = dicom.read_series(folder)
    np.testing.assert_array_equal(series.volume.array, array)
    dicom_segmentation.write(tmp_path / "mask.dcm", labels(), CODES, series)
    assert placed(tmp_path / "mask.dcm") == expected_placed(labels(), stack_affine())


def test_segmentation_of_an_unknown_kind_of_image_is_refused(folder, tmp_path):
    def change(index, header):
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.3.46.670589.11.0.0.12.1"

    dicom_files.write_series(folder, stored(), stack_affine(), change=change)
    with pytest.raises(InputError, match=r"mask\.dcm: cannot be written"):
        dicom_segmentation.write(tmp_path / "mask.dcm", labels(), CODES, dicom.read_series(folder))


def test_segmentation_belongs_to_patient_and_study(folder, tmp_path):
    dicom_files.write_series(folder, stored(), stack_affine())
    dicom_segmentation.write(tmp_path / "mask.dcm", labels(), CODES, dicom.read_series(folder))
    header = pydicom.dcmread(tmp_path / "mask.dcm")
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber"):
        assert header[name].value == dicom_files.PATIENT[name]
    assert header.StudyInstanceUID == "1.2.3"
    assert header.FrameOfReferenceUID == "1.2.3.9"
    assert header.SeriesInstanceUID != "1.2.3.1"


def test_patients_name_is_kept_in_any_script(folder, tmp_path):
    def change(index, header):
        header.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        header.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"

    dicom_files.write_series(folder, stored(), stack_affine(), change=change)
    dicom_segmentation.write(tmp_path / "mask.dcm", labels(), CODES, dicom.read_series(folder))
    assert pydicom.dcmread(tmp_path / "mask.dcm").PatientName == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_segmentation_without_any_structure_is_written(folder, tmp_path):
    dicom_files.write_series(folder, stored(), stack_affine())
    nothing = np.zeros(SHAPE, np.uint8)
    dicom_segmentation.write(tmp_path / "mask.dcm", nothing, CODES, dicom.read_series(folder))
    assert placed(tmp_path / "mask.dcm") == expected_placed(nothing, stack_affine())


def test_segmentation_of_a_stripped_and_malformed_series_is_written(folder, tmp_path, capfd):
    """Anonymisers leave such headers. Malformed values are left out, and not printed."""

    def change(index, header):
        del header.StudyID, header.AccessionNumber, header.SliceThickness
        header.PatientName = "Zweistein, Alberta"
        header.StudyTime = "about noon, and longer than times are"
        header.add_new("PatientBirthDate", "DA", "00000000")
        header.add_new("PatientSex", "CS", "W")
        header.add_new("StudyDate", "DA", "14 March 2021")

    with pydicom.config.disable_value_validation():
        dicom_files.write_series(folder, stored(), stack_affine(), change=change)
    with warnings.catch_warnings(record=True) as caught:
        dicom_segmentation.write(tmp_path / "mask.dcm", labels(), CODES, dicom.read_series(folder))
    assert not caught
    assert placed(tmp_path / "mask.dcm") == expected_placed(labels(), stack_affine())
    header = pydicom.dcmread(tmp_path / "mask.dcm")
    assert header.PatientBirthDate == header.PatientSex == header.StudyTime == header.StudyDate == ""
    assert header.PatientID == dicom_files.PATIENT["PatientID"]
    assert capfd.readouterr() == ("", "")


# Privacy


def test_nothing_of_the_patient_gets_into_nifti(folder, tmp_path):
    dicom_files.write_series(folder, stored(), stack_affine())
    volume = dicom.read_series(folder).volume
    volumes.write(tmp_path / "image.nii", volume.array, volume.affine)
    content = (tmp_path / "image.nii").read_bytes() + repr(volume).encode()
    for value in dicom_files.PATIENT.values():
        if len(value) > 1:
            assert value.encode() not in content

import gzip
import os
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from cardioseg.core import nifti, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Volume
from grids import SPACING, affine

CODES = {"LV": 500, "MYO": 200, "RV": 600}
SHAPE = (5, 36, 40)  # z, y, x


def intensities(shape=SHAPE, dtype=np.int16, seed=0):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(dtype)


def stored_labels(shape=SHAPE, seed=1):
    return np.random.default_rng(seed).choice([0, 500, 200, 600], shape).astype(np.int16)


def save(path, array, matrix=None, **header):
    """A NIfTI file of an array (z, y, x) as another program might write it."""
    image = nib.Nifti1Image(np.asarray(array).T, affine() if matrix is None else matrix)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "patient6_C0.nii.gz"


def failure(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    return str(caught.value)


def world(matrix, index):
    return (matrix @ [*index, 1])[:3]


# Images


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "<i2", ">i2", "<u2", ">u2", ">u4", "<i4", "<f4", ">f4", "<f8", ">f8", "<i8"]
)
def test_image_of_any_real_type_is_read(path, dtype):
    array = (intensities() % 100).astype(dtype)
    image = nib.Nifti1Image(array.T, affine(), dtype=np.dtype(dtype))
    image.header.set_data_dtype(dtype)
    nib.save(nib.Nifti1Image(array.T, affine(), image.header.as_byteswapped(">" if dtype[0] == ">" else "<")), path)
    volume = volumes.read_image(path)
    assert volume.array.dtype == np.float32
    assert volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array, array.astype(float))
    np.testing.assert_allclose(volume.affine, affine(), atol=1e-5)
    assert volume.spacing == pytest.approx(SPACING, rel=1e-5)
    assert volume.notes == ()


def test_uncompressed_image_is_read(tmp_path):
    array = intensities()
    np.testing.assert_array_equal(volumes.read_image(save(tmp_path / "image.nii", array)).array, array)


def test_fractional_slope_scales_intensities(tmp_path):
    path = save(tmp_path / "image.nii", intensities())
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 0.37, -12.5)
    path.write_bytes(content)
    np.testing.assert_allclose(volumes.read_image(path).array, intensities() * 0.37 - 12.5, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_along_any_axis_of_the_file_come_first(path, axis):
    """Voxels keep their place whichever axis the slices lie on: the corners are at the same mm."""
    order = np.roll([0, 1, 2], axis)  # of file axes x, y, z
    image = nib.Nifti1Image(intensities().T, affine())
    stored, matrix = image.get_fdata().transpose(order), affine()[:, [*order, 3]]
    nib.save(nib.Nifti1Image(stored.astype(np.int16), matrix), path)
    volume = volumes.read_image(path)
    assert volume.array.shape[0] == SHAPE[0]
    assert sorted(volume.array.shape) == sorted(SHAPE)
    assert volume.spacing[0] == pytest.approx(SPACING[0], rel=1e-5)
    inverse = np.linalg.inv(affine())
    for index in [(0, 0, 0), (3, 2, 1), (7, 11, 4)]:  # x, y, z of the volume
        x, y, z = np.rint(world(inverse, world(volume.affine, index))).astype(int)
        assert volume.array[index[::-1]] == intensities()[z, y, x]


def test_last_axis_of_equal_ones_holds_the_slices(path):
    """If axes have the same length, the slices lie along the file's last one."""
    array = intensities((36, 36, 40))
    volume = volumes.read_image(save(path, array, affine((1.3, 1.25, 1.25))))
    np.testing.assert_array_equal(volume.array, array)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_voxels_become_the_minimum(path, value):
    array = intensities(dtype=np.float32) + 7
    array[0, :2] = value
    volume = volumes.read_image(save(path, array))
    finite = np.isfinite(array)
    assert (volume.array[0, :2] == array[finite].min()).all()
    np.testing.assert_array_equal(volume.array[finite], array[finite])
    assert volume.notes == ("80 voxels NaN or infinite, set to the minimum",)


def test_numbers_beyond_single_precision_count_as_infinite(path):
    array = intensities(dtype=np.float64)
    array[0, 0, :3] = 1e300
    volume = volumes.read_image(save(path, array))
    assert "3 voxels" in volume.notes[0]
    assert volume.array.max() < 1000


def test_image_that_is_mostly_nan_is_refused(path):
    array = np.full(SHAPE, np.nan, np.float32)
    assert "7200 of 7200 voxels are NaN" in failure(volumes.read_image, save(path, array))
    array[0] = intensities()[0]
    message = failure(volumes.read_image, save(path, array))
    assert str(path) in message
    assert "5760 of 7200" in message


@pytest.mark.parametrize("value", [0, 17])
def test_constant_image_is_refused(path, value):
    message = failure(volumes.read_image, save(path, np.full(SHAPE, value, np.int16)))
    assert str(path) in message
    assert f"every voxel is {value}" in message


def test_constant_image_with_nan_is_refused(path):
    array = np.zeros(SHAPE, np.float32)
    array[0, 0, 0] = np.nan
    assert "every voxel is 0" in failure(volumes.read_image, save(path, array))


def test_header_without_sform_and_qform_has_the_spacing_alone(path):
    image = nib.Nifti1Image(intensities().T, None)
    image.header["pixdim"][1:4] = SPACING[::-1]
    nib.save(image, path)
    volume = volumes.read_image(path)
    assert volume.spacing == pytest.approx(SPACING)
    assert "neither sform nor qform" in volume.notes[0]


def test_qform_gives_the_geometry_where_there_is_no_sform(path):
    image = nib.Nifti1Image(intensities().T, affine())
    image.set_sform(None, code=0)
    image.set_qform(affine(), code=1)
    nib.save(image, path)
    volume = volumes.read_image(path)
    np.testing.assert_allclose(volume.affine, affine(), atol=1e-4)
    assert volume.notes == ()


def save_forms(path, array, sform, qform):
    image = nib.Nifti1Image(array.T, None)
    image.set_sform(sform, code=1)
    image.set_qform(qform, code=1)
    nib.save(image, path)
    return path


def test_qform_gives_the_geometry_where_the_sform_has_no_voxel_sizes(path):
    sform, qform = np.diag([-1.0, -1, 1, 1]), np.diag([-1.3158, -1.3158, 10, 1])
    volume = volumes.read_image(save_forms(path, intensities(), sform, qform))
    np.testing.assert_allclose(volume.affine, qform, atol=1e-5)
    assert volume.notes == ("the sform has no voxel sizes; the qform is used",)
    np.testing.assert_array_equal(volumes.read_grid(path).affine, volume.affine)
    save_forms(path, stored_labels(), sform, qform)
    assert volumes.read_labels(path, CODES, volume).notes == ()
    assert volumes.read_labels(path, CODES).spacing == pytest.approx((10, 1.3158, 1.3158))


@pytest.mark.parametrize("sizes", [(1.1, 1.1, 1.1), (1, 1, 5)])
def test_sform_of_other_sizes_than_pixdim_is_refused_beside_a_qform(path, sizes):
    save_forms(path, intensities(), np.diag([*sizes, 1.0]), np.diag([1.3, 1.3, 10, 1]))
    assert "voxels are of 1.3 x 1.3 x 10 mm by its pixdim" in failure(volumes.read_image, path)


@pytest.mark.parametrize("field", [(252, "<h", 0), (256, "<3f", 1, 1, 1)], ids=["no qform", "no rotation"])
def test_sform_without_voxel_sizes_is_refused_where_no_qform_has_them(path, field):
    content = bytearray(
        gzip.decompress(save_forms(path, intensities(), np.eye(4), np.diag([1.3, 1.3, 10, 1])).read_bytes())
    )
    struct.pack_into(field[1], content, field[0], *field[2:])
    path.write_bytes(gzip.compress(content))
    assert "of 1.3 x 1.3 x 10 mm by its pixdim, of 1 x 1 x 1 mm by its sform" in failure(volumes.read_image, path)


def test_sform_of_true_unit_voxels_is_used(path):
    moved = np.eye(4)
    moved[:3, 3] = 50
    volume = volumes.read_image(save_forms(path, intensities(), np.eye(4), moved))
    np.testing.assert_array_equal(volume.affine, np.eye(4))
    assert volume.notes == (volumes.FORMS_DISAGREE,)


@pytest.mark.parametrize(("degrees", "notes"), [(1.5, ()), (2.5, (volumes.FORMS_DISAGREE,))])
def test_forms_disagree_where_a_corner_lies_a_millimetre_apart(path, degrees, notes):
    """Both place the first voxel alike; the last column is 40 x 0.75 = 30 mm away, where 2 degrees are a millimetre."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    straight, turned = np.diag([0.75, 0.75, 2.0, 1.0]), np.diag([0.75, 0.75, 2.0, 1.0])
    turned[:3, :3] = turn @ turned[:3, :3]
    assert volumes.read_image(save_forms(path, intensities(), straight, turned)).notes == notes


@pytest.mark.parametrize(("origin", "usable"), [(-9_990, True), (10_010, False)])
def test_image_ten_metres_from_the_scanners_centre_is_refused(path, origin, usable):
    save(path, intensities(), affine(origin=(0, origin, 0)))
    if usable:
        assert volumes.read_image(path).affine[1, 3] == origin
    else:
        assert "its origin lies 1e+04 mm from the scanner's centre" in failure(volumes.read_image, path)


def test_paths_may_have_spaces_and_letters_beyond_ascii(tmp_path):
    array = intensities()
    assert (volumes.read_image(save(tmp_path / "Jürgen Ø 心 .nii.gz", array)).array == array).all()


# Files that are not images


def test_missing_file_is_refused(path):
    assert failure(volumes.read_image, path) == f"{path}: no such file."


def test_folder_in_place_of_a_file_is_refused(path):
    path.mkdir()
    assert failure(volumes.read_image, path).startswith(
        f"{path}: is a folder; expected a NIfTI file (.nii or .nii.gz)."
    )


@pytest.mark.parametrize("reader", [volumes.read_image, lambda path: volumes.read_labels(path, CODES), volumes.read])
@pytest.mark.parametrize("length", [0, 1, 15, 200, 360, 0.5, 0.9, -4])
@pytest.mark.parametrize("name", ["image.nii.gz", "image.nii"])
def test_truncated_file_is_refused(tmp_path, reader, length, name):
    content = save(tmp_path / name, stored_labels()).read_bytes()
    path = tmp_path / f"cut_{name}"
    path.write_bytes(content[: int(length * len(content)) if 0 < length < 1 else length])
    message = failure(reader, path)
    assert str(path) in message
    assert "\n" not in message
    assert "cannot be read" in message


def test_damaged_stream_is_refused(path):
    content = bytearray(save(path, intensities()).read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in failure(volumes.read_image, path)


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("end", [b"", bytes(700)])
def test_any_form_of_compression_is_read(path, parts, end):
    """A gzip file may be several joined, as bgzip writes it, with zeros at the end, and with a name inside."""
    expected = volumes.read(save(path, intensities())).array
    content = gzip.decompress(path.read_bytes())
    size = -(-len(content) // parts)
    pieces = [gzip.compress(content[start : start + size], 3) for start in range(0, len(content), size)]
    assert len(pieces) == parts
    path.write_bytes(b"".join(pieces) + end)
    np.testing.assert_array_equal(volumes.read(path).array, expected)


@pytest.mark.parametrize("rest", [1000, nifti.MAXIMAL_REST + 1, 50 * nifti.MAXIMAL_REST])
@pytest.mark.parametrize("compressed", [True, False])
def test_file_may_go_on_a_little_after_its_voxels(path, rest, compressed):
    content = gzip.decompress(save(path, intensities()).read_bytes())
    path.write_bytes(gzip.compress(content + bytes(rest), 9 if compressed else 0))
    if rest > nifti.MAXIMAL_REST:
        assert "more data than its header tells of" in failure(volumes.read_image, path)
    else:
        np.testing.assert_array_equal(volumes.read_image(path).array, intensities())


@pytest.mark.parametrize("place", [-8, -1])
def test_checksum_and_length_at_the_end_are_compared(path, place):
    content = bytearray(save(path, intensities()).read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert "voxels cannot be read, the file is truncated or damaged" in failure(volumes.read_image, path)


@pytest.mark.parametrize("content", [b"<html>404 Not Found</html>" * 40, bytes(1000)])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_file_that_is_not_nifti_is_refused(tmp_path, content, suffix):
    path = tmp_path / f"image.{suffix}"
    path.write_bytes(content)
    assert "cannot be read as NIfTI" in failure(volumes.read_image, path)


def test_file_that_is_gz_only_by_name_is_refused(tmp_path, path):
    path.write_bytes(save(tmp_path / "image.nii", intensities()).read_bytes())
    message = failure(volumes.read_image, path)
    assert str(path) in message
    assert "not a gzip file" in message


def test_compression_that_the_name_does_not_tell(path, tmp_path):
    """Browsers unpack what they load, under the name that it had."""
    content = gzip.decompress(save(path, intensities()).read_bytes())
    (tmp_path / "unpacked.nii.gz").write_bytes(content)
    assert "rename it to .nii." in failure(volumes.read_image, tmp_path / "unpacked.nii.gz")
    (tmp_path / "packed.nii").write_bytes(gzip.compress(content))
    assert "rename it to .nii.gz." in failure(volumes.read_image, tmp_path / "packed.nii")

    (tmp_path / "mixed.Nii").write_bytes(content)
    assert "mixes capitals with small letters: rename it to .nii" in failure(volumes.read_image, tmp_path / "mixed.Nii")


def test_other_formats_are_refused_with_advice(tmp_path):
    path = tmp_path / "image.mgz"
    nib.save(nib.MGHImage(intensities().astype(np.int32).T, affine()), path)
    message = failure(volumes.read_image, path)
    assert message.endswith(
        "image.mgz: is not NIfTI by its name; expected .nii or .nii.gz. Convert the image to NIfTI."
    )


def test_reader_of_another_format_is_not_asked(tmp_path):
    """nibabel's reader of Philips' PAR ends in a KeyError for a file that is none."""
    path = tmp_path / "image.par"
    path.write_text("no image")
    assert "is not NIfTI by its name" in failure(volumes.read_image, path)


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "hdr"])
def test_command_in_the_message_converts_an_image(path, tmp_path, suffix):
    other = tmp_path / f"it's an image.{suffix}"
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(save(path, intensities()))), str(other))
    command = failure(volumes.read_image, other).partition("Convert it: python ")[2]
    subprocess.run([sys.executable, *shlex.split(command)], check=True)
    converted, image = volumes.read_image(other.with_suffix(".nii.gz")), volumes.read_image(path)
    np.testing.assert_array_equal(converted.array, image.array)
    np.testing.assert_allclose(converted.affine, image.affine, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((2, *SHAPE), "Write one phase"),
        (SHAPE[1:], "Export all slices"),
        ((1, 2, *SHAPE), "Write one phase"),
        ((40,), "Export all slices"),
    ],
)
def test_wrong_number_of_dimensions_is_refused(path, shape, advice):
    message = failure(volumes.read_image, save(path, intensities(shape)))
    assert str(path) in message
    assert f"{len(shape)} dimensions" in message
    assert f"expected one 3-D stack of short-axis slices. {advice}" in message


def test_complex_image_is_refused(path):
    message = failure(volumes.read_image, save(path, intensities().astype(np.complex64)))
    assert "complex64" in message
    assert "expected real numbers" in message


def test_rgb_image_is_refused(path):
    colours = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["R"] = intensities() % 200
    assert "expected real numbers" in failure(volumes.read_image, save(path, colours))
    assert "expected numbers" in failure(volumes.read_labels, path, CODES)


@pytest.mark.parametrize(
    ("offset", "layout", "values"),
    [
        (42, "h", (-4,)),  # dimensions
        (46, "h", (0,)),
        (42, "3h", (32767, 32767, 32767)),
        (70, "h", (1234,)),  # data type
        (108, "f", (1e9,)),  # where the voxels begin
        (108, "f", (float("nan"),)),
        (112, "2f", (2.0, float("nan"))),  # slope and intercept
        (280, "f", (float("nan"),)),  # first of the sform
        (280, "12f", (0.0,) * 12),
        (344, "4s", (b"nope",)),
    ],
)
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_damaged_header_is_refused(tmp_path, offset, layout, values, suffix):
    content = bytearray(save(tmp_path / "good.nii", intensities()).read_bytes())
    struct.pack_into("<" + layout, content, offset, *values)
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(gzip.compress(bytes(content)) if suffix.endswith("gz") else content)
    assert str(path) in failure(volumes.read_image, path)


@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=80)
def test_any_header_is_read_or_refused(tmp_path_factory, changes):
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(save(folder / "fuzzed.nii", intensities((2, 32, 32))).read_bytes())
    for offset, value in changes:
        content[offset] = value
    (folder / "fuzzed.nii").write_bytes(content)
    for reader in (volumes.read_image, lambda path: volumes.read_labels(path, CODES)):
        try:
            volume = reader(folder / "fuzzed.nii")
        except InputError as error:
            assert "fuzzed.nii" in str(error)
        else:
            assert np.isfinite(volume.array).all()
            assert np.isfinite(volume.affine).all()


def test_sheared_affine_is_refused(path):
    matrix = affine()
    matrix[:3, 2] += 0.2 * matrix[:3, 0] / SPACING[2] * SPACING[0]
    message = failure(volumes.read_image, save(path, intensities(), matrix))
    assert str(path) in message
    assert "not perpendicular" in message


@pytest.mark.parametrize("spacing", [(0.9999999, 0.8, 0.8), (50.000002, 5.0000002, 5.0000002), (8, 0.1999999, 0.2)])
def test_limits_of_a_stack_allow_for_the_rounding_of_headers(spacing):
    volumes.check_short_axis(Path("image.nii"), np.arange(5 * 36 * 40.0).reshape(5, 36, 40), spacing)


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((5, 31, 40), SPACING, "31 x 40 pixels"),
        ((5, 36, 200), SPACING, "36 x 200 pixels"),
        (SHAPE, (8, 0.1, 0.1), "0.1 x 0.1 mm"),
        (SHAPE, (12, 6, 6), "6 x 6 mm"),
        (SHAPE, (8, 1, 2), "1 x 2 mm"),
        (SHAPE, (60, 1, 1), "60 mm apart"),
        (SHAPE, (0.5, 0.5, 0.5), "0.5 mm apart"),
        (SHAPE, (1, 1.25, 1.25), "1 mm apart"),
    ],
)
def test_image_that_is_no_short_axis_stack_is_refused(path, shape, spacing, expected):
    message = failure(volumes.read_image, save(path, intensities(shape), affine(spacing)))
    assert str(path) in message
    assert expected in message
    assert "expected" in message.replace(expected, "")


# Labels


@pytest.mark.parametrize("dtype", ["u2", ">u2", "i2", ">i4", "f4", ">f8", "i8", "u8"])
def test_labels_of_any_type_are_read(path, dtype):
    stored = stored_labels().astype(dtype)
    image = nib.Nifti1Image(stored.T, affine(), dtype=np.dtype(dtype))
    nib.save(image, path)
    labels = volumes.read_labels(path, CODES)
    assert labels.array.dtype == np.uint8
    expected = np.select([stored == 500, stored == 200, stored == 600], [1, 2, 3])
    np.testing.assert_array_equal(labels.array, expected)


@pytest.mark.parametrize(("dtype", "code"), [(np.uint8, 0), (np.uint8, 200), (np.int8, 0)])
def test_labels_of_a_type_too_small_for_some_codes_are_read(path, dtype, code):
    labels = volumes.read_labels(save(path, np.full(SHAPE, code, dtype)), CODES)
    assert (labels.array == (2 if code else 0)).all()


def test_labels_saved_as_scaled_integers_are_read(path):
    image = nib.Nifti1Image(stored_labels().astype(np.float64).T, affine())
    image.set_data_dtype(np.int16)
    nib.save(image, path)
    assert nib.load(path).dataobj.slope not in (1, None)
    np.testing.assert_array_equal(
        volumes.read_labels(path, CODES).array,
        np.select([stored_labels() == code for code in CODES.values()], [1, 2, 3]),
    )


@pytest.mark.parametrize(
    ("value", "shown"), [(7, "7"), (-1, "-1"), (500.4, "500.4"), (np.nan, "nan"), (np.inf, "inf"), (1e30, "1e+30")]
)
def test_unexpected_code_is_named(path, value, shown):
    stored = stored_labels().astype(np.float32)
    stored[2, 3, 4] = value
    message = failure(volumes.read_labels, save(path, stored), CODES)
    assert str(path) in message
    assert f"label value {shown} " in message
    assert "0 (background), 500 (LV), 200 (MYO), 600 (RV)" in message
    assert "cohort.structures" in message


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32])
def test_unexpected_code_at_the_end_of_a_type(path, dtype):
    image = nib.Nifti1Image(np.full(SHAPE, np.iinfo(dtype).max, dtype).T, affine(), dtype=dtype)
    nib.save(image, path)
    assert "label value" in failure(volumes.read_labels, path, CODES)


def test_codes_of_another_convention_are_refused_unless_configured(path):
    stored = np.select([stored_labels() == code for code in CODES.values()], [3, 2, 1]).astype(np.uint8)
    message = failure(volumes.read_labels, save(path, stored), CODES)
    assert "label value 1, 2, 3 is not expected" in message
    other = volumes.read_labels(path, {"RV": 1, "MYO": 2, "LV": 3})
    np.testing.assert_array_equal(other.array, stored)


def test_many_unexpected_codes_are_abridged(path):
    assert "label value 1, 2, 3, 4, 5 is" in failure(volumes.read_labels, save(path, intensities() % 100), CODES)


@pytest.fixture
def image(tmp_path):
    return volumes.read_image(save(tmp_path / "image.nii.gz", intensities()))


def test_labels_take_the_images_affine(path, image):
    moved = affine()
    moved[:3, 3] += 0.01
    labels = volumes.read_labels(save(path, stored_labels(), moved), CODES, image)
    assert labels.notes == ()
    assert labels.affine is image.affine


def test_labels_at_another_place_are_noted(path, image):
    other = affine(angles=(0, 0, 0), origin=(0, 0, 0))
    labels = volumes.read_labels(save(path, stored_labels(), other), CODES, image)
    assert "position or direction differs" in labels.notes[0]
    assert labels.affine is image.affine
    np.testing.assert_array_equal(labels.array, volumes.read_labels(path, CODES).array)


@pytest.mark.parametrize(("degrees", "notes"), [(0.005, ()), (0.5, (volumes.ELSEWHERE,)), (3, (volumes.ELSEWHERE,))])
def test_labels_turned_by_little_lie_elsewhere_where_the_matrix_is_large(tmp_path, path, degrees, notes):
    """Each voxel step differs by little, and the last voxel by many pixels."""
    angle, shape, matrix = np.radians(degrees), (3, 400, 400), affine()
    image = volumes.read_image(save(tmp_path / "large.nii.gz", intensities(shape), matrix))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix[:3, :3] = turn @ matrix[:3, :3]
    assert volumes.read_labels(save(path, np.zeros(shape, np.int16), matrix), CODES, image).notes == notes


@pytest.mark.parametrize(("parts", "notes"), [(0.45, ()), (0.55, (volumes.ELSEWHERE,))])
def test_labels_less_than_half_a_voxel_away_lie_on_the_images_grid(path, image, parts, notes):
    moved = affine()
    moved[:3, 3] += parts * moved[:3, 0]  # the shortest axis
    assert volumes.read_labels(save(path, stored_labels(), moved), CODES, image).notes == notes


@pytest.mark.parametrize("flips", [(1, 1, -1), (1, -1, 1), (-1, -1, 1), (-1, 1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)])
def test_labels_saved_with_other_axes_are_turned_back(path, image, flips, order):
    """Some programs reorient what they save; their affine says where every voxel is."""
    original = nib.Nifti1Image(stored_labels().T, affine())
    nib.save(original.as_reoriented(np.column_stack([order, flips])), path)
    labels = volumes.read_labels(path, CODES, image)
    np.testing.assert_array_equal(
        labels.array, np.select([stored_labels() == code for code in CODES.values()], [1, 2, 3])
    )
    assert labels.notes == ("labels' axes turned to the image's",)


@pytest.mark.parametrize("shape", [(4, 36, 40), (5, 40, 36), (5, 36, 41)])
def test_labels_of_another_shape_are_refused(path, image, shape):
    message = failure(volumes.read_labels, save(path, stored_labels(shape)), CODES, image)
    assert str(path) in message
    assert str(shape) in message
    assert str(SHAPE) in message


@pytest.mark.parametrize("spacing", [(5.0, 1.25, 1.1), (8.0, 1.25, 1.25)])
def test_labels_of_another_spacing_are_refused(path, image, spacing):
    message = failure(volumes.read_labels, save(path, stored_labels(), affine(spacing)), CODES, image)
    assert str(path) in message
    assert " x ".join(f"{mm:g}" for mm in spacing) in message
    assert "8 x 1.25 x 1.1 mm" in message


def with_pixdim(path, sizes):
    """A header's voxel sizes, (x, y, z), beside its sform."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<3f", content, 80, *sizes)
    path.write_bytes(gzip.compress(content))


@pytest.mark.parametrize(("sizes", "shown"), [((0, 1.25, 8), "0 x 1.25 x 8 mm"), ((2, 2, 2), "2 x 2 x 2 mm")])
def test_labels_without_an_image_have_one_voxel_size_in_their_header(path, sizes, shown):
    with_pixdim(save(path, stored_labels()), sizes)
    message = failure(volumes.read_labels, path, CODES)
    assert f"{path}: voxels are of {shown} by its pixdim, of 1.1 x 1.25 x 8 mm by its sform" in message


@pytest.mark.parametrize(("factor", "shown"), [(1e3, "8e+03 x 1.25e+03 x 1.1e+03"), (1e-3, "0.008 x 0.00125 x 0.0011")])
def test_labels_in_other_units_than_mm_are_refused(path, factor, shown):
    save(path, stored_labels(), affine(np.multiply(SPACING, factor)))
    message = failure(volumes.read_labels, path, CODES)
    assert message == f"{path}: voxels of {shown} mm (z, y, x); expected 0.2 to 50 mm. Correct the header."


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (6, 1, 3)])
def test_labels_without_an_image_need_not_be_of_short_axis_slices(path, spacing):
    labels = volumes.read_labels(save(path, stored_labels((3, 20, 90)), affine(spacing)), CODES)
    assert labels.spacing == pytest.approx(spacing)


def test_empty_labels_are_read(path, image):
    """A mask may be empty. The cohort's check decides whether labels may be."""
    assert not volumes.read_labels(save(path, np.zeros(SHAPE, np.int16)), CODES, image).array.any()


# The package's own volumes


@pytest.mark.parametrize("shape", [SHAPE, (4, *SHAPE)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int16])
@pytest.mark.parametrize("name", ["volume.nii.gz", "volume.nii"])
def test_written_volume_comes_back(tmp_path, shape, dtype, name):
    array = intensities(shape).astype(dtype)
    volumes.write(tmp_path / "folder" / name, array, affine())
    back = volumes.read(tmp_path / "folder" / name)
    assert back.array.dtype == dtype
    np.testing.assert_array_equal(back.array, array)
    np.testing.assert_allclose(back.affine, affine(), atol=1e-5)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [name]
    # Programs differ in which of the two they go by.
    header = nib.load(tmp_path / "folder" / name).header
    for form, code in (header.get_sform(coded=True), header.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(form, affine(), atol=1e-4)


def test_double_precision_is_not_kept(tmp_path):
    nib.save(nib.Nifti1Image(intensities().T.astype(np.float64), affine()), tmp_path / "volume.nii")
    assert volumes.read(tmp_path / "volume.nii").array.dtype == np.float32


def test_volume_as_stored_is_what_comes_back(tmp_path):
    volume = Volume(intensities().astype(np.float32), affine() * (1 + 1e-9))
    volumes.write(tmp_path / "volume.nii.gz", volume.array, volume.affine)
    back, stored = volumes.read(tmp_path / "volume.nii.gz"), volumes.as_stored(volume)
    assert (volume.affine != stored.affine).any()
    np.testing.assert_array_equal(stored.affine, back.affine)
    np.testing.assert_array_equal(stored.array, back.array)


def test_same_content_gives_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        volumes.write(tmp_path / name, intensities(), affine())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "a.nii.gz").read_bytes()[4:8] == bytes(4)  # gzip's time stamp


def test_file_is_replaced_not_overwritten(tmp_path):
    """A process that has the old file open can read it to its end."""
    path = tmp_path / "volume.nii.gz"
    volumes.write(path, intensities(), affine())
    os.link(path, tmp_path / "old.nii.gz")
    volumes.write(path, intensities(seed=3), affine())
    np.testing.assert_array_equal(volumes.read(tmp_path / "old.nii.gz").array, intensities())
    np.testing.assert_array_equal(volumes.read(path).array, intensities(seed=3))


def test_volume_has_spacing_of_its_affine():
    assert Volume(np.zeros((1, 1, 1)), affine((5.0, 0.75, 1.4))).spacing == pytest.approx((5.0, 0.75, 1.4))


# Masks in the geometry of the raw image


def raw_files(folder):
    """Raw images in all common kinds of geometry, by name."""
    plain = nib.Nifti1Image(intensities().T, affine())
    quaternion = nib.Nifti1Image(intensities().T, affine())
    quaternion.set_qform(affine(), code=1)
    quaternion.set_sform(None, code=0)
    both = nib.Nifti1Image(intensities().T, affine())
    both.set_qform(affine(), code=1)
    both.set_sform(affine(origin=(1, 2, 3)), code=4)
    neither = nib.Nifti1Image(intensities().T, None)
    neither.header["pixdim"][1:4] = SPACING[::-1]
    scaled = nib.Nifti1Image(intensities().T * 0.37, affine())
    scaled.set_data_dtype(np.uint8)
    left_handed = nib.Nifti1Image(intensities().T, affine() @ np.diag([-1, 1, 1, 1]))
    left_handed.set_qform(left_handed.affine, code=1)
    turned = plain.as_reoriented(np.array([[2, 1], [0, -1], [1, 1]]))
    turned.set_qform(turned.affine, code=1)
    unit = nib.Nifti1Image(intensities().T, affine() / [*SPACING[::-1], 1])
    unit.set_qform(affine(), code=1)
    big = nib.Nifti1Image(plain.get_fdata(), affine(), plain.header.as_byteswapped(">"))
    second = nib.Nifti2Image(intensities().T, affine())
    images = {
        "plain": plain,
        "quaternion": quaternion,
        "both": both,
        "neither": neither,
        "scaled": scaled,
        "left_handed": left_handed,
        "slices_first": plain.as_reoriented(np.array([[1, 1], [2, 1], [0, 1]])),
        "turned": turned,
        "unit_sform": unit,
        "big_endian": big,
        "nifti2": second,
    }
    for name, image in images.items():
        image.header["descrip"] = b"Jane Doe 1960-01-01"
        image.header["aux_file"] = b"jane.hdr"
        image.header["intent_name"] = b"jane"
        image.header["cal_max"] = 17
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
        nib.save(image, folder / f"{name}.nii.gz")
    return images


RAW = [
    "plain",
    "quaternion",
    "both",
    "neither",
    "scaled",
    "left_handed",
    "slices_first",
    "turned",
    "unit_sform",
    "big_endian",
    "nifti2",
]


@pytest.fixture(scope="module")
def raw_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    assert list(raw_files(folder)) == RAW
    return folder


@pytest.mark.parametrize("name", RAW)
def test_mask_has_the_raw_images_geometry(raw_folder, tmp_path, name):
    raw_path, path = raw_folder / f"{name}.nii.gz", tmp_path / "mask.nii.gz"
    image = volumes.read_image(raw_path)
    labels = np.random.default_rng(2).integers(0, 4, image.array.shape).astype(np.uint8)
    volumes.write_labels_like(path, labels, CODES, raw_path)

    raw, mask = nib.load(raw_path), nib.load(path)
    assert mask.shape == raw.shape
    np.testing.assert_allclose(mask.affine, raw.affine, rtol=0, atol=1e-6)
    for field in ("sform_code", "qform_code"):
        assert mask.header[field] == raw.header[field]
    np.testing.assert_allclose(mask.header["pixdim"][:4], raw.header["pixdim"][:4], atol=1e-6)
    assert mask.get_data_dtype() == np.int16
    assert set(np.unique(mask.dataobj)) == {0, 200, 500, 600}

    back = volumes.read_labels(path, CODES, image)
    np.testing.assert_array_equal(back.array, labels)
    assert back.notes == ()

    for field in ("descrip", "aux_file", "intent_name"):
        assert not mask.header[field].tobytes().strip(b"\0")
    assert not mask.header.extensions
    assert b"ane" not in gzip.decompress(path.read_bytes())


def same_to_another_reader(raw_path, path):
    raw, mask = SimpleITK.ReadImage(str(raw_path)), SimpleITK.ReadImage(str(path))
    assert mask.GetSize() == raw.GetSize()
    for get in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(mask, get)(), getattr(raw, get)(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in RAW if name != "nifti2"])
def test_another_reader_sees_mask_and_image_on_one_grid(raw_folder, tmp_path, name):
    raw_path, path = raw_folder / f"{name}.nii.gz", tmp_path / "mask.nii.gz"
    labels = np.ones(volumes.read_image(raw_path).array.shape, np.uint8)
    volumes.write_labels_like(path, labels, CODES, raw_path)
    same_to_another_reader(raw_path, path)
    assert (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) == 500).all()


def turning_of(seed):
    """Any rotation matrix, also with exchanged and reversed axes."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]


@given(
    seed=st.integers(0, 2**32 - 1),
    axis=st.integers(0, 2),
    forms=st.sampled_from(["sform", "qform", "both", "different", "neither"]),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    order=st.sampled_from("<>"),
    unit=st.sampled_from(["mm", "unknown", "micron"]),
)
@settings(max_examples=60)
def test_mask_of_any_geometry_opens_aligned(tmp_path_factory, seed, axis, forms, kind, order, unit):
    """Both libraries see origin, spacing and direction of mask and raw image equal to 1e-6.

    Whatever is oblique, exchanged or turned round; whichever form says so; with coordinates that no float32 holds.
    """
    folder = tmp_path_factory.mktemp("any")
    raw_path, path = folder / "raw.nii", folder / "mask.nii.gz"
    rng = np.random.default_rng(seed)
    spacing = np.insert(rng.uniform(0.7, 1.0, 2), axis, rng.uniform(5, 13))
    matrix = np.eye(4)
    matrix[:3, :3] = turning_of(seed) * spacing
    matrix[:3, 3] = rng.uniform(-400, 400, 3)
    stored = np.moveaxis(intensities((5, 33, 34), seed=1), 0, axis)
    image = kind(stored, None, kind.header_class(endianness=order))
    image.header["pixdim"][1:4] = spacing
    image.set_qform(matrix if forms in ("qform", "both", "different") else None, code=1 if forms != "sform" else 0)
    if forms in ("sform", "both", "different"):
        image.set_sform(matrix @ np.diag((1, -1, 1, 1)) if forms == "different" else matrix)
    image.header.set_xyzt_units(unit)
    nib.save(image, raw_path)
    volume = volumes.read_image(raw_path)
    volumes.write_labels_like(path, np.ones(volume.array.shape, np.uint8), CODES, raw_path)
    raw, mask = nib.load(raw_path), nib.load(path)
    assert mask.shape == raw.shape
    np.testing.assert_allclose(mask.affine, raw.affine, rtol=0, atol=1e-6)
    if kind is nib.Nifti1Image:  # the only one that SimpleITK reads
        same_to_another_reader(raw_path, path)


def test_mask_marks_the_voxels_that_it_was_drawn_on(raw_folder, tmp_path):
    """Threshold an image whose axes are turned: the mask lies where the intensities are."""
    raw_path, path = raw_folder / "turned.nii.gz", tmp_path / "mask.nii.gz"
    volumes.write_labels_like(path, (volumes.read_image(raw_path).array > 700).astype(np.uint8), {"any": 9}, raw_path)
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), 9 * (nib.load(raw_path).get_fdata() > 700))


def test_largest_code_is_written_and_read(raw_folder, tmp_path):
    path = tmp_path / "mask.nii.gz"
    codes = {"LV": 2**31 - 1}
    volumes.write_labels_like(path, np.ones(SHAPE, np.uint8), codes, raw_folder / "plain.nii.gz")
    assert (volumes.read_labels(path, codes).array == 1).all()


@pytest.mark.parametrize(("code", "dtype"), [(2**15 - 1, np.int16), (2**15, np.int32)])
def test_codes_take_as_few_bytes_as_hold_them(code, dtype):
    encoded = volumes.encoded(np.array([0, 1, 2], np.uint8), {"LV": 7, "MYO": code})
    assert encoded.dtype == dtype
    assert encoded.tolist() == [0, 7, code]


def test_mask_of_another_shape_is_not_written(raw_folder, tmp_path):
    path = tmp_path / "mask.nii.gz"
    raw_path = raw_folder / "plain.nii.gz"
    message = failure(volumes.write_labels_like, path, np.zeros((5, 40, 36), np.uint8), CODES, raw_path)
    assert str(raw_path) in message
    assert not path.exists()


@given(
    shape=st.tuples(st.integers(1, 12), st.integers(32, 40), st.integers(32, 40)),
    axis=st.integers(0, 2),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_any_mask_goes_back_and_forth(tmp_path_factory, shape, axis, seed):
    folder = tmp_path_factory.getbasetemp()
    stored = np.moveaxis(intensities(shape, seed=seed), 0, axis)
    matrix = affine((1, 1, 1))
    matrix[:3, 2 - axis] *= 8
    raw_path = save(folder / "raw.nii", stored, matrix)
    labels = np.random.default_rng(seed).integers(0, 4, volumes.read_image(raw_path).array.shape).astype(np.uint8)
    volumes.write_labels_like(folder / "mask.nii", labels, CODES, raw_path)
    np.testing.assert_array_equal(volumes.read_labels(folder / "mask.nii", CODES).array, labels)
    assert nib.load(folder / "mask.nii").shape == nib.load(raw_path).shape


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nibabel_tells_the_terminal_nothing_of_a_damaged_header(tmp_path, name, caplog):
    array = np.arange(40 * 36 * 8, dtype=np.int16).reshape(40, 36, 8)
    image = nib.Nifti1Image(array, np.diag([*SPACING[::-1], 1]))
    content = bytearray(image.to_bytes())
    content[252:254] = struct.pack("<h", -16384)  # qform_code
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    nib.load(tmp_path / name)
    assert "qform_code" in caplog.text
    caplog.clear()
    assert volumes.read_image(tmp_path / name).array.shape == (8, 36, 40)
    assert caplog.text == ""
    nib.load(tmp_path / name)
    assert "qform_code" in caplog.text


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_grid_of_an_image_is_that_of_its_volume(tmp_path, axis):
    path = tmp_path / "image.nii.gz"
    values = np.moveaxis(np.arange(3 * 33 * 34).reshape(3, 33, 34).astype(np.float32), 0, axis)
    affine = np.diag([-2, 2, 2, 1.0])
    affine[:3, 3] = 4, 5, 6
    nib.save(nib.Nifti1Image(values.T, affine), path)
    grid, image = volumes.read_grid(path), volumes.read_image(path)
    assert grid.array.shape == image.array.shape
    np.testing.assert_array_equal(grid.affine, image.affine)
    assert not grid.array.any()
    own = volumes.grid_of(image)
    assert own.array.shape == grid.array.shape and own.array.strides == (0, 0, 0)
    np.testing.assert_array_equal(own.affine, grid.affine)
    assert own.notes == grid.notes == ()


def test_grid_tells_whether_the_header_has_a_geometry(path):
    unplaced = nib.Nifti1Image(intensities().T, None)
    unplaced.header["pixdim"][1:4] = SPACING[::-1]
    nib.save(unplaced, path)
    image = volumes.read_image(path)
    assert volumes.read_grid(path).notes == volumes.grid_of(image).notes == (volumes.NO_GEOMETRY,)
    odd = Volume(image.array, image.affine, ("3 voxels NaN", volumes.FORMS_DISAGREE))
    assert volumes.grid_of(odd).notes == ()


def test_grey_values_are_counted_over_all_slices(path):
    """No slice alone has enough of them."""
    array = np.repeat(np.arange(5), 36 * 40).reshape(SHAPE) * 4 + intensities() % 4
    assert volumes.read_image(save(path, array.astype(np.int16))).array.max() == 19
    said = failure(volumes.read_image, save(path, np.minimum(array, 14).astype(np.int16)))
    assert "has 15 different values" in said
    assert "Name the image; in a workflow, correct" in said

import os
import time

import nibabel as nib
import numpy as np
import pytest

from cardioseg.cohort import checks, orientation
from cardioseg.cohort.checks import Grids
from cardioseg.cohort.plan import Cohort, Files
from cardioseg.core import nifti
from cardioseg.core.errors import InputError
from cardioseg.core.turns import AS_STORED, Turn
from cardioseg.core.volumes import Volume

CODES = {"LV": 500, "MYO": 200, "RV": 600}
AFFINE = np.diag([1.25, 1.25, 8.0, 1.0])
SETTINGS = {"source": {"name": "bSSFP"}, "target": {"name": "LGE"}, "structures": CODES}


def write(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.T, affine), path)
    return path


def image(seed=0):
    return np.random.default_rng(seed).integers(0, 999, (3, 32, 34)).astype(np.int16)


def labels(codes=(0, 500, 200, 600)):
    return np.random.default_rng(1).choice(codes, (3, 32, 34)).astype(np.int16)


@pytest.fixture
def files(tmp_path):
    return Files(
        write(tmp_path / "patient6_C0.nii.gz", image()), write(tmp_path / "patient6_C0_manual.nii.gz", labels())
    )


def test_good_volume_has_no_notes(files):
    assert checks.check_volume(files, CODES, Grids()) == []
    assert checks.check_volume(Files(files.image, None), CODES, Grids()) == []


def test_missing_structure_is_noted(files):
    write(files.labels, labels((0, 500)))
    assert checks.check_volume(files, CODES, Grids()) == [f"{files.labels}: no MYO, RV"]


def test_every_structure_is_in_the_labels_of_some_patient(tmp_path, files):
    write(files.labels, labels((0, 500, 600)))
    other = Files(
        write(tmp_path / "patient7_C0.nii.gz", image(2)), write(tmp_path / "patient7_C0_manual.nii.gz", labels())
    )
    for both in ((files, other), (other, files)):
        assert checks.check_structures(both, CODES, Grids()) == []
    cohort = Cohort({("bSSFP", "6"): files}, {"labelled": ["6"]})
    shown = r"none of the 1 label files .*patient6_C0_manual.* has MYO,.*cohort.structures.MYO: null"
    with pytest.raises(InputError, match=shown):
        checks.check_volumes(cohort, SETTINGS, {}, Grids())
    assert checks.check_volumes(cohort, SETTINGS | {"structures": {"LV": 500, "RV": 600}}, {}, Grids())


def test_structure_that_no_label_file_has_is_not_noted_as_missing(files):
    unlabelled = CODES | {"RV": []}
    write(files.labels, labels((0, 500, 200)))
    assert checks.check_volume(files, unlabelled, Grids()) == []
    write(files.labels, labels((0, 200)))
    assert checks.check_volume(files, unlabelled, Grids()) == [f"{files.labels}: no LV"]
    write(files.labels, labels((0,)))
    with pytest.raises(InputError, match=r"has no structure at all; expected LV, MYO\."):
        checks.check_volume(files, unlabelled, Grids())
    write(files.labels, labels())
    with pytest.raises(InputError, match="label value 600 is not expected"):
        checks.check_volume(files, unlabelled, Grids())


def test_odd_files_are_noted(files):
    array = image().astype(np.float32)
    array[0, 0, :2] = np.nan
    write(files.image, array)
    write(files.labels, labels(), np.diag([1.25, -1.25, 8, 1]))
    notes = checks.check_volume(files, CODES, Grids())
    assert [note.split(":")[0] for note in notes] == [str(files.image), str(files.labels)]
    assert "2 voxels NaN" in notes[0]
    assert "position or direction" in notes[1]


def test_labels_without_any_structure_are_refused(files):
    write(files.labels, labels((0,)))
    with pytest.raises(InputError, match=r"patient6_C0_manual.nii.gz: has no structure at all; expected LV, MYO, RV"):
        checks.check_volume(files, CODES, Grids())


def cohort_of(*files):
    return Cohort({("bSSFP", str(number)): each for number, each in enumerate(files)}, {})


def test_all_faulty_files_are_named(tmp_path, files):
    truncated = write(tmp_path / "truncated.nii.gz", image())
    truncated.write_bytes(truncated.read_bytes()[:1500])
    zero = write(tmp_path / "zero.nii.gz", np.zeros((3, 32, 34), np.int16))
    seven = write(tmp_path / "seven.nii.gz", labels((0, 500, 7)))
    link = tmp_path / "link.nii.gz"
    link.symlink_to(tmp_path / "nowhere.nii.gz")
    wrong = [Files(truncated, None), Files(zero, None), Files(files.image, seven), Files(link, None)]
    with pytest.raises(InputError) as caught:
        checks.check_volumes(cohort_of(files, *wrong), SETTINGS, {}, Grids())
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    for line, path, reason in zip(
        lines,
        [truncated, zero, seven, link],
        ["truncated", "every voxel is 0", "label value 7", "no such file"],
        strict=True,
    ):
        assert line.startswith(f"{path}: ")
        assert reason in line


def test_what_was_checked_is_remembered(files, monkeypatch):
    read = []
    check = checks.check_volume
    monkeypatch.setattr(checks, "check_volume", lambda files, *about: read.append(files) or check(files, *about))
    memory = checks.check_volumes(cohort_of(files), SETTINGS, {}, Grids())
    assert len(memory) == 3  # the volume, and twice the whole
    assert set(map(str, memory.values())) == {"[]"}
    assert checks.check_volumes(cohort_of(files), SETTINGS, memory, Grids()) == memory
    assert len(read) == 1

    os.utime(files.labels, (0, 0))
    changed = checks.check_volumes(cohort_of(files), SETTINGS, memory, Grids())
    assert len(read) == 2
    assert list(changed) != list(memory)
    with pytest.raises(InputError, match="label value 600"):
        checks.check_volumes(cohort_of(files), SETTINGS | {"structures": {"LV": 500, "MYO": 200}}, changed, Grids())


def test_each_image_is_opened_once(tmp_path, files, monkeypatch):
    """Though orientation, sides and pairs ask for its place, too."""
    target = Files(write(tmp_path / "patient6_LGE.nii.gz", image(1)), None)
    volumes_of = {("bSSFP", "6"): files, ("LGE", "6"): target}
    cohort = Cohort(volumes_of, {"labelled": ["6"], "test": ["6"]}, partners=["6"])
    opened = []
    opening = nifti.open_image
    monkeypatch.setattr(nifti, "open_image", lambda path, *more: opened.append(path) or opening(path, *more))
    grids = Grids()
    memory = checks.check_volumes(cohort, SETTINGS, {}, grids, WALL)
    assert len(memory) == 7  # two volumes, repetitions, orientation, structures, sides and the pair
    checks.turns([files.image, target.image], grids)
    assert sorted(path for path in opened if path != files.labels) == [files.image, target.image]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(("slices_away", "apart"), [(0, False), (2, False), (3, True), (-2, False), (-3, True)])
def test_pair_overlaps_in_one_slice_at_least(tmp_path, files, slices_away, apart, labelled):
    moved = AFFINE.copy()
    moved[2, 3] = slices_away * AFFINE[2, 2]
    source = files if labelled else Files(files.image, None)
    target = Files(write(tmp_path / "patient6_LGE.nii.gz", image(1), moved), None)
    cohort = Cohort({("bSSFP", "6"): source, ("LGE", "6"): target}, {}, partners=["6"])
    if apart:
        with pytest.raises(InputError, match="lies entirely outside of"):
            checks.check_volumes(cohort, SETTINGS, {}, Grids())
    else:
        checks.check_volumes(cohort, SETTINGS, {}, Grids())


def test_patients_whose_labels_self_training_fuses_are_checked_as_pairs_too(tmp_path, files):
    moved = AFFINE.copy()
    moved[0, 3] = 900
    target = Files(write(tmp_path / "patient6_LGE.nii.gz", image(1), moved), None)
    cohort = Cohort({("bSSFP", "6"): files, ("LGE", "6"): target}, {})
    checks.check_volumes(cohort, SETTINGS, {}, Grids())
    with pytest.raises(InputError, match="lies entirely outside of"):
        checks.check_volumes(cohort, SETTINGS, {}, Grids(), witnesses=["6"])


def test_file_in_the_place_of_another_as_large_and_as_old_is_not_taken_for_it(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "aside")]
    for path in paths[:2]:
        path.write_text(path.name)
        os.utime(path, (1e9, 1e9))
    before = checks.identity("volume", paths[:1])
    assert checks.identity("volume", paths[:1]) == before
    for old, new in zip(paths, [paths[2], *paths], strict=False):
        old.rename(new)
    assert paths[0].read_text() == "b"
    exchanged = checks.identity("volume", paths[:1])
    assert exchanged != before
    # The same file may also get another content.
    time.sleep(0.05)
    paths[0].write_text("c")
    os.utime(paths[0], (1e9, 1e9))
    assert checks.identity("volume", paths[:1]) not in (before, exchanged)


def test_remembered_file_that_is_gone(files):
    memory = checks.check_volumes(cohort_of(files), SETTINGS, {}, Grids())
    files.labels.unlink()
    with pytest.raises(InputError, match=r"patient6_C0_manual.nii.gz: no such file"):
        checks.check_volumes(cohort_of(files), SETTINGS, memory, Grids())


# Which way round images are stored

OBLIQUE = np.array([[-0.67, -0.43, 0.6, 0], [-0.72, 0.2, -0.65, 0], [-0.17, 0.88, 0.45, 0], [0, 0, 0, 1]]) @ AFFINE
CORE = np.zeros((3, 40, 40), np.int16)
CORE[:, 15:25, 20:30], CORE[:, 17:23, 22:28], CORE[:, 15:25, 8:19] = 200, 500, 600
WALL = {"cavity": "LV", "myocardium": "MYO"}
HALF = Turn(False, True, True)


def stored_another_way(folder, name, turn, affine, header=True):
    """Write an image and its labels turned in-plane; header: whether their affine says so."""
    noise = np.random.default_rng(len(name)).integers(0, 999, CORE.shape).astype(np.int16)
    for suffix, array in (("", noise), ("_labels", CORE)):
        turned = turn.apply(Volume(array, affine))
        write(folder / f"{name}{suffix}.nii.gz", turned.array, turned.affine if header else affine)
    return Files(folder / f"{name}.nii.gz", folder / f"{name}_labels.nii.gz")


@pytest.fixture
def alike(tmp_path):
    return [stored_another_way(tmp_path, name * 3, AS_STORED, OBLIQUE) for name in "abc"]


def test_image_stored_another_way_round_is_turned(tmp_path, alike):
    other = stored_another_way(tmp_path, "other", HALF, OBLIQUE)
    images = [files.image for files in (*alike, other)]
    assert checks.turns(images, Grids()) == dict.fromkeys(images, AS_STORED) | {other.image: HALF}
    (note,) = checks.check_orientation(images, Grids())
    assert note.startswith(f"{other.image}: turned by 180 degrees for the networks")
    assert checks.check_sides([*alike, other], CODES, WALL, Grids()) == []


def test_header_that_tells_nothing_is_noted(tmp_path, alike):
    bare = stored_another_way(tmp_path, "bare", AS_STORED, AFFINE)
    (note,) = checks.check_orientation([files.image for files in (*alike, bare)], Grids())
    assert note.startswith(f"{bare.image}: {orientation.UNTOLD}")


@pytest.mark.parametrize("affine", [OBLIQUE, AFFINE])
def test_labels_tell_what_a_header_does_not(tmp_path, affine):
    """Headers that are all alike over pixels that are not: labels of the heart are turned with them."""
    others = [stored_another_way(tmp_path, name * 3, AS_STORED, affine) for name in "abc"]
    lying = stored_another_way(tmp_path, "lying", HALF, affine, header=False)
    assert checks.check_orientation([files.image for files in (*others, lying)], Grids()) == []
    (note,) = checks.check_sides([*others, lying], CODES, WALL, Grids())
    assert note.startswith(f"{lying.image}: its labels lie turned by 180 degrees")


def test_labels_of_the_wall_alone_have_no_side(tmp_path, alike):
    alone = [Files(files.image, tmp_path / f"{index}.nii.gz") for index, files in enumerate(alike)]
    for files in alone:
        write(files.labels, np.where(CORE == 600, 0, CORE), OBLIQUE)
    assert checks.check_sides(alone, CODES, WALL, Grids()) == []


def test_scars_within_the_wall_have_no_side(tmp_path):
    y, x = np.mgrid[-40:40, -40:40]
    labels = np.select([np.hypot(y, x) < 16, np.hypot(y, x) < 24], [500, 200], 0)
    patients = []
    for name, where in (("a", y < -12), ("b", y < -12), ("c", y > 12)):
        files = Files(tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_labels.nii.gz")
        write(files.image, np.random.default_rng(0).integers(0, 999, (3, 80, 80)).astype(np.int16), OBLIQUE)
        scarred = np.where((labels == 200) & where, 600, labels).astype(np.int16)
        write(files.labels, np.stack([scarred] * 3), OBLIQUE)
        patients.append(files)
    assert checks.check_sides(patients, CODES, WALL, Grids()) == []


def test_remarks_that_many_files_share_are_one_line():
    bare = [f"data/{patient}.nii.gz: has no header" for patient in range(60)]
    few = ["a.nii: is odd", "b.nii: is odd"]
    lines = checks.summarised([few[0], *bare, few[1]])
    assert lines == [*few, "data/0.nii.gz and 59 others, see results/cohort/cohort.csv: has no header"]
    assert checks.summarised(bare[:5]) == bare[:5]

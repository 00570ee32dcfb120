import os
import time

import nibabel as nib
import numpy as np
import pytest

from cardioseg.cohort import orientation, plan
from cardioseg.cohort.plan import Files
from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.core.turns import AS_STORED, Turn
from cardioseg.core.volumes import Volume

CODES = {"LV": 500, "MYO": 200, "RV": 600}
AFFINE = np.diag([1.25, 1.25, 8.0, 1.0])
SPLITS = {
    "labelled": ["6-8"],
    "translation_source": ["6-8"],
    "translation_target": ["6-8"],
    "validation": ["1-2"],
    "test": ["6-8"],
}


def configured(source="**/patient{patient}_C0", target="**/patient{patient}_LGE", **splits):
    return {
        "source": {"name": "bSSFP", "image": f"{source}.nii.gz", "labels": f"{source}_manual.nii.gz"},
        "target": {"name": "LGE", "image": f"{target}.nii.gz", "labels": f"{target}_manual.nii.gz"},
        "structures": CODES,
        "splits": SPLITS | splits,
    }


def release(source=(1, 2, 6, 7, 8), labelled=(1, 2, 6, 7, 8), target=(1, 2, 6, 7, 8), target_labelled=(1, 2, 6, 7, 8)):
    """File names in the layout of the release."""
    return [
        *(f"a/c0t2lge/patient{n}_C0.nii.gz" for n in source),
        *(f"a/c0gt/patient{n}_C0_manual.nii.gz" for n in labelled),
        *(f"a/c0t2lge/patient{n}_T2.nii.gz" for n in source),
        *(f"a/c0t2lge/patient{n}_LGE.nii.gz" for n in target),
        *(f"a/lgegt/patient{n}_LGE_manual.nii.gz" for n in target_labelled if n < 6),
        *(f"b/test data/patient{n}_LGE_manual.nii.gz" for n in target_labelled if n > 5),
        "readme.txt",
    ]


def failure(names, **changes):
    with pytest.raises(InputError) as caught:
        plan.find("data", names, configured(**changes))
    return str(caught.value)


def test_files_of_the_release_are_found():
    found = plan.find("data", release(), configured())
    assert found.splits == {
        "labelled": ["6", "7", "8"],
        "translation_source": ["6", "7", "8"],
        "translation_target": ["6", "7", "8"],
        "validation": ["1", "2"],
        "test": ["6", "7", "8"],
    }
    assert found.notes == []
    assert found.patients("bSSFP") == ["1", "2", "6", "7", "8"]
    assert found.patients("LGE") == ["1", "2", "6", "7", "8"]
    files = found.volumes["LGE", "7"]
    assert files.image.as_posix() == "data/a/c0t2lge/patient7_LGE.nii.gz"
    assert files.labels.as_posix() == "data/b/test data/patient7_LGE_manual.nii.gz"
    assert found.volumes["bSSFP", "6"].labels.as_posix() == "data/a/c0gt/patient6_C0_manual.nii.gz"


def test_order_of_the_names_does_not_matter():
    names = release(source=range(1, 13), labelled=range(1, 13), target=range(1, 13))
    one, other = (plan.find("data", order, configured(test=["6-12"])) for order in (names, names[::-1]))
    assert one == other
    assert list(one.volumes) == list(other.volumes)
    assert one.patients("LGE") == [str(number) for number in (1, 2, *range(6, 13))]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{patient}/mr/{modality}", ["Jane Doe/mr/{modality}", "Jürgen Ø 心/mr/{modality}", "3/mr/{modality}"]),
        ("**/{modality}_{patient}", ["x/y/{modality}_Jane Doe", "{modality}_Jürgen Ø 心", "z/{modality}_3"]),
        ("*/{patient}-{modality}", ["x/Jane Doe-{modality}", "y y/Jürgen Ø 心-{modality}", "z/3-{modality}"]),
        (
            "site */**/{modality}/{patient}",
            ["site a/{modality}/Jane Doe", "site b/x/y/{modality}/Jürgen Ø 心", "site /{modality}/3"],
        ),
    ],
)
def test_files_of_other_layouts_are_found(pattern, names):
    patients = ["Jane Doe", "Jürgen Ø 心", "3"]
    files = [
        name.replace("{modality}", modality) + suffix
        for name in names
        for modality in ("C0", "LGE")
        for suffix in (".nii.gz", "_manual.nii.gz")
    ]
    settings = configured(
        pattern.replace("{modality}", "C0"), pattern.replace("{modality}", "LGE"), **dict.fromkeys(SPLITS, patients)
    )
    settings["splits"]["validation"] = []
    found = plan.find("my data", files, settings)
    assert sorted(found.patients("bSSFP")) == sorted(found.patients("LGE")) == sorted(patients)
    for patient in patients:
        assert patient in str(found.volumes["LGE", patient].image)
        assert found.volumes["LGE", patient].labels is not None


def test_special_characters_of_a_pattern_are_literal():
    """A dot is not a wildcard, and a star does not match across folders."""
    assert "labelled: no bSSFP image" in failure(["patient6_C0xnii.gz"])
    assert "labelled: no bSSFP image" in failure(["deep/er/patient6_C0.nii.gz"], source="*/patient{patient}_C0")
    assert "labelled: no bSSFP image" in failure(["deep/Patient6_C0.nii.gz"])
    assert "labelled: no bSSFP image" in failure(["a/patient6_C0.nii.gz.part", "a/xpatient6_C0.nii.gz"])


@pytest.mark.parametrize(
    ("image", "labels"),
    [("{patient}", "{patient}_gt"), ("{patient}_0000", "{patient}")],
    ids=["labels' names add to the images'", "images' names add to the labels'"],
)
def test_file_that_fits_two_patterns_is_what_more_of_its_name_says(image, labels):
    cohort = configured(**{split: ["*"] for split in SPLITS if split != "validation"}, validation=[])
    cohort["source"] |= {"image": f"{image}.nii.gz", "labels": f"{labels}.nii.gz"}
    cohort["target"] |= {"image": f"LGE_{image}.nii.gz", "labels": f"LGE_{labels}.nii.gz"}
    expected = {
        (modality, patient): tuple(f"{start}{name.format(patient=patient)}.nii.gz" for name in (image, labels))
        for modality, start in (("bSSFP", ""), ("LGE", "LGE_"))
        for patient in ("7", "b")
    }
    found = plan.find("data", [name for both in expected.values() for name in both], cohort)
    assert {key: (files.image.name, files.labels.name) for key, files in found.volumes.items()} == expected


def test_image_of_both_modalities_is_refused():
    """Networks would otherwise learn from the very labels that they are measured against."""
    shown = failure(release(), source="**/patient{patient}_LGE", target="a/*/patient{patient}_LGE")
    assert "data/a/c0t2lge/patient6_LGE.nii.gz: fits cohort.source.image and cohort.target.image" in shown
    assert "data/a/c0t2lge/patient7_LGE.nii.gz" in shown


def test_range_takes_the_patients_that_exist():
    found = plan.find("data", release(), configured(test=["6-9"], validation=["1-4"]))
    assert found.splits["test"] == ["6", "7", "8"]
    assert found.splits["validation"] == ["1", "2"]
    assert found.notes == [
        "split validation: no LGE image of 3, 4; 2 patients remain",
        "split test: no LGE image of 9; 3 patients remain",
    ]


@pytest.mark.parametrize("entry", [9, "9", "Jane"])
@pytest.mark.parametrize("split", SPLITS)
def test_named_patient_must_exist(split, entry):
    message = failure(release(), **{split: ["6-8", entry]})
    assert f"cohort.splits.{split}: patient {entry} has no " in message
    assert "data" in message
    assert "expected a file that matches **/patient{patient}_" in message


def test_zero_padded_names_are_found_by_their_numbers():
    names = [name.replace("patient", "patient00") for name in release()]
    found = plan.find("data", names, configured(validation=[1, "002"]))
    assert found.splits["test"] == ["006", "007", "008"]
    assert found.splits["validation"] == ["001", "002"]
    assert found.notes == []
    message = failure(names, test=["006", 6])
    assert "patient 006 is named twice" in message


def test_name_that_looks_like_a_range_stays_a_name():
    names = [name.replace("patient", "patient01-00") for name in release()]
    everybody = ["01-006", "01-007", "01-008"]
    settings = configured(**dict.fromkeys(SPLITS, everybody) | {"validation": ["01-001"]})
    assert plan.find("data", names, settings).splits["test"] == everybody


def test_order_is_the_configurations_where_nothing_is_learnt():
    """Another order would repeat the synthesis and the trainings, to no end."""
    found = plan.find("data", release(), configured(**{split: [8, "6-7"] for split in SPLITS} | {"validation": []}))
    assert found.splits["test"] == ["8", "6", "7"]
    for split in ("labelled", "translation_source", "translation_target"):
        assert found.splits[split] == ["6", "7", "8"]


@pytest.mark.parametrize("entries", [["6", 6], ["6-8", 7], ["6-7", "7-8"]])
def test_patient_named_twice(entries):
    message = failure(release(), test=entries)
    assert "cohort.splits.test: patient" in message
    assert "twice" in message


def test_validation_and_test_are_disjoint():
    message = failure(release(), validation=["1-2", 7])
    assert "patient 7 is in validation and in test" in message


def test_cohort_without_a_patient_to_segment_is_refused():
    assert "nothing to segment" in failure(release(), validation=["20-30"], test=[])
    assert plan.find("data", release(), configured(validation=[])).splits["validation"] == []


@pytest.mark.parametrize("split", ["labelled", "translation_source", "translation_target"])
def test_split_without_a_patient_is_refused(split):
    modality = "LGE" if split == "translation_target" else "bSSFP"
    for entries in ([], ["20-30"]):
        message = failure(release(), **{split: entries})
        assert f"cohort.splits.{split}: names none of the " in message
        assert f"patients with {modality} images in data (" in message


def test_folder_without_images_is_refused():
    message = failure([])
    assert "no bSSFP image found in data" in message
    assert "cohort.source.image" in message


def test_labelled_patient_without_labels_is_refused():
    message = failure(release(labelled=(6, 8)))
    assert "data/a/c0t2lge/patient7_C0.nii.gz" in message
    assert "cohort.splits.labelled" in message
    assert "patient{patient}_C0_manual.nii.gz" in message


def test_all_that_is_missing_is_told_at_once():
    message = failure(release(labelled=(8,)), validation=["1-2", 9], test=["Jane", "6-8"]).splitlines()
    assert len(message) == 4
    for line, words in zip(
        message, ["patient 9 has", "patient Jane has", "6_C0.nii.gz: ", "7_C0.nii.gz: "], strict=True
    ):
        assert words in line
    orphans = failure(release(source=(1, 2, 8), target=(1, 2, 6, 7))).splitlines()
    assert [line.partition(": ")[0].rpartition("/")[2] for line in orphans] == [
        "patient6_C0_manual.nii.gz",
        "patient7_C0_manual.nii.gz",
        "patient8_LGE_manual.nii.gz",
    ]


def test_target_without_labels_is_segmented_not_evaluated():
    found = plan.find("data", release(target_labelled=(1, 6)), configured())
    assert found.notes == ["no LGE labels of 2, 7, 8: segmented, not evaluated"]
    assert found.volumes["LGE", "7"].labels is None


def test_source_labels_of_segmented_patients_are_kept():
    found = plan.find("data", release(labelled=(1, 6, 7, 8)), configured(validation=["1-2"], test=["6"]))
    assert found.labelled("bSSFP") == ["1", "6", "7", "8"]
    assert found.patients("bSSFP") == ["1", "6", "7", "8"]


def test_source_images_without_labels_are_partners_where_labels_are_predicted():
    names = release(source=(1, 2, 6, 7, 8, 9), labelled=(1, 6, 7, 8))
    manual, predicted = (plan.find("data", names, configured(test=["6"]), predicted) for predicted in (False, True))
    assert manual.partners == ["1", "6"]
    assert predicted.partners == ["1", "2", "6"]
    assert ("bSSFP", "2") not in manual.volumes
    assert predicted.volumes["bSSFP", "2"].labels is None


def test_labels_without_an_image_are_refused():
    message = failure(release(source=(1, 2, 6, 8)))
    assert message.startswith("data/a/c0gt/patient7_C0_manual.nii.gz: labels without an image")
    assert "cohort.source.image" in message


def test_patient_with_two_files_is_refused():
    message = failure([*release(), "copy of a/patient7_LGE.nii.gz"])
    assert "patient 7 occurs twice" in message
    assert "data/a/c0t2lge/patient7_LGE.nii.gz" in message
    assert "data/copy of a/patient7_LGE.nii.gz" in message
    assert "cohort.target.image" in message
    assert "cohort.target.labels" in failure([*release(), "x/patient7_LGE_manual.nii.gz"])


@pytest.mark.parametrize(
    "patient", ["..", ".6", "...", "a\nb", "a\tb", "{6}", "6{", "<6>", "6>", "a\\b", "\udcff", "a\x7fb"]
)
def test_patient_name_that_breaks_paths_is_refused(patient):
    message = failure([*release(), f"{patient}/C0.nii.gz"], source="{patient}/C0")
    assert "cannot be used" in message
    assert "Rename" in message
    assert message.isprintable()


def test_braces_in_a_folder_are_shown_as_they_are():
    message = failure([name.replace("a/", "{a}/") for name in release()])
    assert "data/{a}/c0t2lge/patient" in message


def test_two_dots_are_refused_only_at_the_beginning_of_a_name():
    names = [name.replace("patient", "patient..") for name in release()]
    assert "cannot be used" in failure(names)
    names = [name.replace("_C0", ".._C0").replace("_LGE", ".._LGE") for name in release()]
    splits = {split: ["6.."] for split in SPLITS} | {"validation": []}
    assert plan.find("d", names, configured(**splits)).splits["test"] == ["6.."]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("3-5", ["3", "4", "5"]),
        ("7-7", ["7"]),
        (12, ["12"]),
        ("12", ["12"]),
        ("a-b", ["a-b"]),
        ("1-2-3", ["1-2-3"]),
        ("1-" + 11 * "9", ["1-" + 11 * "9"]),
    ],
)
def test_ranges_are_expanded(entry, names):
    assert plan.expand(entry) == names


def test_impossible_ranges_are_refused():
    with pytest.raises(InputError, match=r"range 9-3 ends before it begins; expected 3-9"):
        plan.expand("9-3")
    with pytest.raises(InputError, match=r"range 1-999999999 is too long"):
        plan.expand("1-999999999")


@pytest.mark.parametrize("odd", ["5²", "٣", "①"])
def test_digits_of_other_scripts_are_names(odd):
    names = [*release(), f"a/patient{odd}_LGE.nii.gz"]
    assert plan.find("data", names, configured(test=["6-8", odd])).splits["test"] == ["6", "7", "8", odd]


# Folders


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_relative_files_leave_out_hidden_ones(tmp_path):
    for name in ("b/c d/é.nii.gz", "a.nii.gz", ".DS_Store", "b/._é.nii.gz"):
        touch(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert plan.relative_files(tmp_path) == ["a.nii.gz", "b/c d/é.nii.gz"]


def test_a_folder_is_left_out(tmp_path):
    for name in ("a/x.nii", "results/a/x.nii", "b/results/x.nii"):
        touch(tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path / "results")
    assert plan.relative_files(tmp_path, tmp_path / "results") == ["a/x.nii", "b/results/x.nii"]


def test_links_are_followed_once(tmp_path):
    touch(tmp_path / "elsewhere/x/patient6_C0.nii.gz")
    touch(tmp_path / "data/own.nii.gz")
    (tmp_path / "data/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/twice").symlink_to(tmp_path / "elsewhere/x")
    (tmp_path / "data/file.nii.gz").symlink_to(tmp_path / "data/own.nii.gz")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    assert plan.relative_files(tmp_path / "data") == ["file.nii.gz", "linked/x/patient6_C0.nii.gz", "own.nii.gz"]


@pytest.mark.parametrize("name", ["missing", "file"])
def test_missing_folder_is_refused(tmp_path, name):
    touch(tmp_path / "file")
    with pytest.raises(InputError, match=rf"data: .*{name} is not a folder"):
        plan.relative_files(tmp_path / name)


# Volumes


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
    assert plan.check_volume(files, CODES) == []
    assert plan.check_volume(Files(files.image, None), CODES) == []


def test_missing_structure_is_noted(files):
    write(files.labels, labels((0, 500)))
    assert plan.check_volume(files, CODES) == [f"{files.labels}: no MYO, RV"]


def test_every_structure_is_in_the_labels_of_some_patient(tmp_path, files):
    write(files.labels, labels((0, 500, 600)))
    other = Files(
        write(tmp_path / "patient7_C0.nii.gz", image(2)), write(tmp_path / "patient7_C0_manual.nii.gz", labels())
    )
    for both in ((files, other), (other, files)):
        assert plan.check_structures(both, CODES) == []
    cohort = plan.Cohort({("bSSFP", "6"): files}, {"labelled": ["6"]})
    shown = r"none of the 1 label files .*patient6_C0_manual.* has MYO,.*cohort.structures.MYO: null"
    with pytest.raises(InputError, match=shown):
        plan.check_volumes(cohort, configured(), {})
    assert plan.check_volumes(cohort, configured() | {"structures": {"LV": 500, "RV": 600}}, {})


def test_structure_that_no_label_file_has_is_not_noted_as_missing(files):
    unlabelled = CODES | {"RV": []}
    write(files.labels, labels((0, 500, 200)))
    assert plan.check_volume(files, unlabelled) == []
    write(files.labels, labels((0, 200)))
    assert plan.check_volume(files, unlabelled) == [f"{files.labels}: no LV"]
    write(files.labels, labels((0,)))
    with pytest.raises(InputError, match=r"has no structure at all; expected LV, MYO\."):
        plan.check_volume(files, unlabelled)
    write(files.labels, labels())
    with pytest.raises(InputError, match="label value 600 is not expected"):
        plan.check_volume(files, unlabelled)


def test_odd_files_are_noted(files):
    array = image().astype(np.float32)
    array[0, 0, :2] = np.nan
    write(files.image, array)
    write(files.labels, labels(), np.diag([1.25, -1.25, 8, 1]))
    notes = plan.check_volume(files, CODES)
    assert [note.split(":")[0] for note in notes] == [str(files.image), str(files.labels)]
    assert "2 voxels NaN" in notes[0]
    assert "position or direction" in notes[1]


def test_labels_without_any_structure_are_refused(files):
    write(files.labels, labels((0,)))
    with pytest.raises(InputError, match=r"patient6_C0_manual.nii.gz: has no structure at all; expected LV, MYO, RV"):
        plan.check_volume(files, CODES)


def cohort_of(*files):
    return plan.Cohort({("bSSFP", str(number)): each for number, each in enumerate(files)}, {})


def test_all_faulty_files_are_named(tmp_path, files):
    truncated = write(tmp_path / "truncated.nii.gz", image())
    truncated.write_bytes(truncated.read_bytes()[:1500])
    zero = write(tmp_path / "zero.nii.gz", np.zeros((3, 32, 34), np.int16))
    seven = write(tmp_path / "seven.nii.gz", labels((0, 500, 7)))
    link = tmp_path / "link.nii.gz"
    link.symlink_to(tmp_path / "nowhere.nii.gz")
    wrong = [Files(truncated, None), Files(zero, None), Files(files.image, seven), Files(link, None)]
    with pytest.raises(InputError) as caught:
        plan.check_volumes(cohort_of(files, *wrong), configured(), {})
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
    check = plan.check_volume
    monkeypatch.setattr(plan, "check_volume", lambda files, *about: read.append(files) or check(files, *about))
    memory = plan.check_volumes(cohort_of(files), configured(), {})
    assert len(memory) == 3  # the volume, and twice the whole
    assert set(map(str, memory.values())) == {"[]"}
    assert plan.check_volumes(cohort_of(files), configured(), memory) == memory
    assert len(read) == 1

    os.utime(files.labels, (0, 0))
    changed = plan.check_volumes(cohort_of(files), configured(), memory)
    assert len(read) == 2
    assert list(changed) != list(memory)
    with pytest.raises(InputError, match="label value 600"):
        plan.check_volumes(cohort_of(files), configured() | {"structures": {"LV": 500, "MYO": 200}}, changed)


def test_each_image_is_opened_once(tmp_path, files, monkeypatch):
    """Though orientation, sides and pairs ask for its place, too."""
    target = Files(write(tmp_path / "patient6_LGE.nii.gz", image(1)), None)
    volumes_of = {("bSSFP", "6"): files, ("LGE", "6"): target}
    cohort = plan.Cohort(volumes_of, {"labelled": ["6"], "test": ["6"]}, partners=["6"])
    opened = []
    opening = volumes._open
    monkeypatch.setattr(volumes, "_open", lambda path, *more: opened.append(path) or opening(path, *more))
    grids = plan.Grids()
    memory = plan.check_volumes(cohort, configured(), {}, WALL, grids)
    assert len(memory) == 7  # two volumes, repetitions, orientation, structures, sides and the pair
    plan.turns([files.image, target.image], grids)
    assert sorted(path for path in opened if path != files.labels) == [files.image, target.image]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(("slices_away", "apart"), [(0, False), (2, False), (3, True), (-2, False), (-3, True)])
def test_pair_overlaps_in_one_slice_at_least(tmp_path, files, slices_away, apart, labelled):
    moved = AFFINE.copy()
    moved[2, 3] = slices_away * AFFINE[2, 2]
    source = files if labelled else Files(files.image, None)
    target = Files(write(tmp_path / "patient6_LGE.nii.gz", image(1), moved), None)
    cohort = plan.Cohort({("bSSFP", "6"): source, ("LGE", "6"): target}, {}, partners=["6"])
    if apart:
        with pytest.raises(InputError, match="lies entirely outside of"):
            plan.check_volumes(cohort, configured(), {})
    else:
        plan.check_volumes(cohort, configured(), {})


def test_patients_whose_labels_self_training_fuses_are_checked_as_pairs_too(tmp_path, files):
    moved = AFFINE.copy()
    moved[0, 3] = 900
    target = Files(write(tmp_path / "patient6_LGE.nii.gz", image(1), moved), None)
    cohort = plan.Cohort({("bSSFP", "6"): files, ("LGE", "6"): target}, {})
    plan.check_volumes(cohort, configured(), {})
    with pytest.raises(InputError, match="lies entirely outside of"):
        plan.check_volumes(cohort, configured(), {}, witnesses=["6"])


def test_file_in_the_place_of_another_as_large_and_as_old_is_not_taken_for_it(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "aside")]
    for path in paths[:2]:
        path.write_text(path.name)
        os.utime(path, (1e9, 1e9))
    before = plan.identity("volume", paths[:1])
    assert plan.identity("volume", paths[:1]) == before
    for old, new in zip(paths, [paths[2], *paths], strict=False):
        old.rename(new)
    assert paths[0].read_text() == "b"
    exchanged = plan.identity("volume", paths[:1])
    assert exchanged != before
    # The same file may also get another content.
    time.sleep(0.05)
    paths[0].write_text("c")
    os.utime(paths[0], (1e9, 1e9))
    assert plan.identity("volume", paths[:1]) not in (before, exchanged)


def test_remembered_file_that_is_gone(files):
    memory = plan.check_volumes(cohort_of(files), configured(), {})
    files.labels.unlink()
    with pytest.raises(InputError, match=r"patient6_C0_manual.nii.gz: no such file"):
        plan.check_volumes(cohort_of(files), configured(), memory)


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
    assert plan.turns(images) == dict.fromkeys(images, AS_STORED) | {other.image: HALF}
    (note,) = plan.check_orientation(images)
    assert note.startswith(f"{other.image}: turned by 180 degrees for the networks")
    assert plan.check_sides([*alike, other], CODES, WALL) == []


def test_header_that_tells_nothing_is_noted(tmp_path, alike):
    bare = stored_another_way(tmp_path, "bare", AS_STORED, AFFINE)
    (note,) = plan.check_orientation([files.image for files in (*alike, bare)])
    assert note.startswith(f"{bare.image}: {orientation.UNTOLD}")


@pytest.mark.parametrize("affine", [OBLIQUE, AFFINE])
def test_labels_tell_what_a_header_does_not(tmp_path, affine):
    """Headers that are all alike over pixels that are not: labels of the heart are turned with them."""
    others = [stored_another_way(tmp_path, name * 3, AS_STORED, affine) for name in "abc"]
    lying = stored_another_way(tmp_path, "lying", HALF, affine, header=False)
    assert plan.check_orientation([files.image for files in (*others, lying)]) == []
    (note,) = plan.check_sides([*others, lying], CODES, WALL)
    assert note.startswith(f"{lying.image}: its labels lie turned by 180 degrees")


def test_labels_of_the_wall_alone_have_no_side(tmp_path, alike):
    alone = [Files(files.image, tmp_path / f"{index}.nii.gz") for index, files in enumerate(alike)]
    for files in alone:
        write(files.labels, np.where(CORE == 600, 0, CORE), OBLIQUE)
    assert plan.check_sides(alone, CODES, WALL) == []


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
    assert plan.check_sides(patients, CODES, WALL) == []


def test_remarks_that_many_files_share_are_one_line():
    bare = [f"data/{patient}.nii.gz: has no header" for patient in range(60)]
    few = ["a.nii: is odd", "b.nii: is odd"]
    lines = plan.summarised([few[0], *bare, few[1]])
    assert lines == [*few, "data/0.nii.gz and 59 others, see results/cohort/cohort.csv: has no header"]
    assert plan.summarised(bare[:5]) == bare[:5]

import pytest

from cardioseg.cohort import plan
from cardioseg.core.errors import InputError

CODES = {"LV": 500, "MYO": 200, "RV": 600}
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

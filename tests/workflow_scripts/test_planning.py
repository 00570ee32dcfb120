import copy
import dataclasses
import errno
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from cardioseg.core import checksums
from cardioseg.core.errors import InputError
from cardioseg.core.turns import Turn
from cardioseg.phantoms import heart
from support import planning, raw_files

PAPER = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def configured(data=None, **splits):
    config = copy.deepcopy(PAPER)
    config["data"] = data
    config["cohort"]["splits"] |= splits
    return config


def everybody(*patients):
    splits = {split: list(patients) for split in ("labelled", "translation_source", "translation_target", "test")}
    return splits | {"validation": []}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "my data"
    rng = np.random.default_rng(0)
    for patient in (6, 7):
        for key, path in heart.release_files(folder, patient).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (32, 34, 3)
            array = rng.choice([0, 500, 200, 600], shape) if key.endswith("labels") else rng.integers(0, 99, shape)
            nib.save(nib.Nifti1Image(array.astype(np.int16), np.diag([1.25, 1.25, 8, 1])), path)
    return str(folder)


MEMORY = planning.MEMORY


@pytest.mark.parametrize("on_phantom", [False, True])
def test_histogram_matching_needs_a_target_volume_for_each_synthetic_image(data, on_phantom):
    config = configured(None if on_phantom else data, **everybody(6, 7))
    config["translation"]["method"] = "histogram"
    config["synthesis"]["samples"] = 2
    planning.plan(config, check=False)
    config["synthesis"]["samples"] = 3
    with pytest.raises(InputError, match=r"synthesis\.samples: 3; expected 2 or less"):
        planning.plan(config, check=False)
    config["translation"]["method"] = "munit"
    planning.plan(config, check=False)


@pytest.mark.parametrize(
    ("example", "expected"), [(None, True), ("bssfp_to_t2", False), ("lge_to_bssfp", False), ("brain", False)]
)
def test_published_figures_are_those_of_the_papers_cohort(example, expected):
    config = configured("/data/release")
    if example:
        overlay = yaml.safe_load((Path(__file__).parents[2] / "demo" / f"{example}.yaml").read_text())["cohort"]
        config["cohort"] = {key: value | overlay.get(key, {}) for key, value in config["cohort"].items()}
    assert planning.on_mscmrseg(config) is expected
    assert not planning.on_mscmrseg(config | {"data": None})
    config["cohort"]["structures"] |= {"scar": 700}
    assert not planning.on_mscmrseg(config)


def test_phantom_has_the_papers_splits():
    found = planning.plan(PAPER, check=True)
    assert found.splits["labelled"] == [str(number) for number in range(6, 36)]
    assert found.splits["translation_target"] == [str(number) for number in range(6, 46)]
    assert found.splits["validation"] == ["1", "2", "3", "4", "5"]
    assert found.notes == []
    assert found.volumes["bSSFP", "40"].labels is None
    assert not Path("results").exists()


def test_phantom_is_found_where_it_is_drawn():
    """The planned names are those that the phantom writes."""
    found = planning.plan(PAPER, check=False)
    for patient in (1, 6, 36):
        files = heart.release_files(Path("results/phantom"), patient)
        assert found.volumes["LGE", str(patient)].image == files["LGE"]
        assert found.volumes["LGE", str(patient)].labels == files["LGE_labels"]
        if patient > 5:
            assert found.volumes["bSSFP", str(patient)].image == files["bSSFP"]
            assert found.volumes["bSSFP", str(patient)].labels == files.get("bSSFP_labels")


def test_phantom_patients_are_those_of_the_splits():
    splits = {"labelled": ["6-8", 7], "test": [2, "11"]}
    assert planning.phantom_patients(splits) == [2, 6, 7, 8, 11]


@pytest.mark.parametrize("name", ["Jane", "6a", "-3", "5²", "1.5"])
def test_phantom_has_numbers_alone(name):
    with pytest.raises(InputError, match=r"cohort.splits: the phantom has no patient"):
        planning.plan(configured(test=[name]), check=True)


def test_phantom_has_no_patient_zero():
    with pytest.raises(InputError, match="no patient 0"):
        planning.plan(configured(test=["0-5"], validation=[]), check=True)


@pytest.mark.parametrize("like", [1, 6, 36])
def test_phantom_files_are_named_as_the_phantom_writes_them(like):
    names = planning.phantom_files("some/folder", "{patient}", like)
    assert [name.replace("{patient}", str(like)) for name in names] == [
        path.as_posix() for path in heart.release_files(Path("some/folder"), like).values()
    ]
    assert all(name.count("{patient}") == 1 for name in names)


def test_phantom_is_drawn_in_the_modalities_of_the_cohort():
    files = planning.phantom_files("", "7", 7, ["T2"])
    assert [Path(name).name for name in files] == ["patient7_T2.nii.gz", "patient7_T2_manual.nii.gz"]
    config = configured()
    assert planning.phantom_modalities(planning.plan(config, check=False)) == ["bSSFP", "LGE"]
    config["cohort"]["target"] = {"name": "dark", "image": "**/p*t{patient}_T2.nii.gz", "labels": "{patient}.nii.gz"}
    assert planning.phantom_modalities(planning.plan(config, check=False)) == ["bSSFP", "T2"]


def test_structure_without_a_code_is_left_out(data):
    config = configured(data, **everybody(6, 7))
    config["cohort"]["structures"] |= {"RV": None, "wall": 600}
    planning.plan(config, check=True)
    checked = [key for key in json.loads(MEMORY.read_text())["volumes"] if "LV" in key]
    assert checked
    assert all("'wall': [600]" in key and "RV" not in key for key in checked)


def test_labels_without_the_cavity_do_not_seem_of_another_convention(data):
    config = configured(data, **everybody(6, 7))
    config["cohort"]["target"]["codes"] = {"LV": None}
    for path in Path(data).rglob("*LGE_manual.nii.gz"):
        image = nib.load(path)
        labels = np.asarray(image.dataobj)
        nib.save(nib.Nifti1Image(np.where(labels == 500, 0, labels).astype(labels.dtype), image.affine), path)
    notes = [note for note in planning.plan(config, check=True).oddities if "convention" in note]
    assert not any("LGE" in note for note in notes)


def test_checked_data_is_remembered(data, monkeypatch):
    config = configured(data, **everybody("6-7"))
    found = planning.plan(config, check=True)
    assert found.patients("LGE") == ["6", "7"]
    assert all("the codes may follow another convention" in note for note in found.oddities)
    assert found.oddities
    remembered = json.loads(MEMORY.read_text())
    # Four volumes, two pairs, and of the whole repetitions, orientation, structures and sides.
    assert len(remembered["volumes"]) == 10
    assert list(MEMORY.parent.iterdir()) == [MEMORY]

    def read(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(planning.checks, "check_volume", read)
    again = planning.plan(config, check=True)
    assert again == dataclasses.replace(found, oddities=[])
    assert json.loads(MEMORY.read_text()) == remembered


def test_other_code_checks_again(data, monkeypatch):
    config = configured(data, **everybody("6-7"))
    planning.plan(config, check=True)
    before = json.loads(MEMORY.read_text())
    monkeypatch.setattr(planning.checks, "check_volume", lambda *_: ["odd"])
    planning.plan(config, check=True)
    assert json.loads(MEMORY.read_text()) == before
    planning.plan(config, check=True, code="other")
    assert json.loads(MEMORY.read_text())["volumes"] != before["volumes"]


def test_jobs_do_not_check_again(data, monkeypatch):
    monkeypatch.setattr(planning.checks, "check_volumes", None)
    planning.plan(configured(data, **everybody("6-7")), check=False)
    assert not Path("results").exists()


def test_missing_extra_is_told_before_any_job(data, monkeypatch):
    config = configured(data, **everybody("6-7"))
    config["segmentation"] = config["segmentation"] | {"network": "segresnet"}
    planning.plan(config, check=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"segmentation\.network: segresnet comes with MONAI, which is not installed"):
        planning.plan(config, check=True)


@pytest.mark.parametrize("fused", [False, True])
def test_pairs_that_self_training_fuses_are_checked_before_any_job(data, fused):
    image = heart.release_files(Path(data), 6)["LGE"]
    far = np.diag([1.25, 1.25, 8, 1.0])
    far[0, 3] = 900
    nib.save(nib.Nifti1Image(np.asarray(nib.load(image).dataobj), far), image)
    config = configured(data, **everybody(6, 7) | {"test": [7]})
    config["self_training"] = {"epochs": 1, "fused": fused}
    if not fused:
        planning.plan(config, check=True)
        return
    with pytest.raises(InputError, match="lies entirely outside of"):
        planning.plan(config, check=True)


def test_bad_data_leaves_nothing(data):
    path = heart.release_files(Path(data), 7)["LGE"]
    path.write_bytes(path.read_bytes()[:800])
    with pytest.raises(InputError, match=r"patient7_LGE\.nii\.gz: voxels cannot be read"):
        planning.plan(configured(data, **everybody("6-7")), check=True)
    assert not Path("results").exists()


def test_changed_file_is_checked_again(data):
    config = configured(data, **everybody("6-7"))
    planning.plan(config, check=True)
    path = heart.release_files(Path(data), 6)["LGE_labels"]
    nib.save(nib.Nifti1Image(np.full((32, 34, 3), 7, np.int16), np.diag([1.25, 1.25, 8, 1])), path)
    with pytest.raises(InputError, match="label value 7"):
        planning.plan(config, check=True)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", "{}", "\udcff"])
def test_damaged_memory_is_replaced(data, content):
    MEMORY.parent.mkdir(parents=True)
    MEMORY.write_bytes(content.encode("utf-8", "surrogateescape"))
    planning.plan(configured(data, **everybody("6-7")), check=True)
    assert len(json.loads(MEMORY.read_text())["volumes"]) == 10


def test_unused_files_are_not_checked(data):
    path = heart.release_files(Path(data), 7)["LGE"]
    path.write_bytes(b"")
    planning.plan(configured(data, **everybody("6")), check=True)


def test_missing_folder_is_named():
    with pytest.raises(InputError, match="data: nowhere is not a folder"):
        planning.plan(configured("nowhere"), check=True)


@pytest.mark.parametrize("folder", ["results", "results/masks/unet"])
def test_folder_that_may_not_be_written_to_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "results" / "masks" / "unet").mkdir(parents=True)
    planning.check_writable(Path("results"))
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != Path(folder))  # root may write anywhere
    with pytest.raises(InputError, match=f"{folder}: cannot be written to"):
        planning.check_writable(Path("results"))


@pytest.mark.parametrize("there", [True, False])
def test_folder_of_snakemakes_records_must_be_writable_also_for_a_plan(there, tmp_path, monkeypatch):
    if there:
        (tmp_path / ".snakemake").mkdir()
    planning.check_records_writable()
    refused = Path(".snakemake") if there else tmp_path
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != refused)  # root may write anywhere
    with pytest.raises(InputError, match="cannot be written to; expected a writable folder for Snakemake's records"):
        planning.check_records_writable()


def test_results_to_come_can_be_written():
    planning.check_writable(Path("results"))


DRY_RUN = """
import gc, sys
import snakemake.cli

collected, before = [], gc.get_threshold()
def count(phase, _):
    if phase == "start" and gc.get_threshold() != before:
        collected.append(phase)
gc.callbacks.append(count)
code = 0
try:
    snakemake.cli.main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("end", code, len(collected), gc.get_threshold() != before, gc.get_freeze_count() > 0)
"""


def test_collector_does_not_go_through_what_planning_makes(tmp_path):
    root = Path(__file__).parents[2]
    call = ["-n", "--quiet", "all", "--snakefile", root / "Snakefile", "--configfile", root / "demo" / "config.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", DRY_RUN, *map(str, call), "--directory", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "end 0 0 True True"


def test_what_was_checked_need_not_be_remembered(data, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refused)
    assert planning.plan(configured(data, **everybody("6-7")), check=True).patients("LGE") == ["6", "7"]
    assert not MEMORY.exists()


def labels_of(data):
    return heart.release_files(Path(data), 6)["bSSFP_labels"]


def replace(path, seconds):
    """Change a voxel's label, and set the time."""
    image = nib.load(path)
    values = np.asarray(image.dataobj).copy()
    values[0, 0, 0] = 500 if values[0, 0, 0] == 0 else 0
    nib.save(nib.Nifti1Image(values, image.affine), path)
    os.utime(path, (seconds, seconds))


def test_file_replaced_by_one_of_an_old_time_is_refused_until_touched(data):
    config = configured(data, **everybody("6-7"))
    planning.plan(config, check=True)
    memory = MEMORY.read_text()
    replace(labels_of(data), 1e9)
    for _ in range(2):
        with pytest.raises(InputError, match=re.escape(f"touch '{labels_of(data)}'")):
            planning.plan(config, check=True)
    assert MEMORY.read_text() == memory
    labels_of(data).touch()
    planning.plan(config, check=True)


@pytest.mark.parametrize("seconds", [1e9, 4e9])
def test_time_alone_is_no_change(data, seconds):
    config = configured(data, **everybody("6-7"))
    planning.plan(config, check=True)
    os.utime(labels_of(data), (seconds, seconds))
    planning.plan(config, check=True)


def test_file_replaced_by_one_of_a_later_time_is_taken(data):
    config = configured(data, **everybody("6-7"))
    planning.plan(config, check=True)
    before = json.loads(MEMORY.read_text())["checksums"]
    replace(labels_of(data), 4e9)
    planning.plan(config, check=True)
    after = json.loads(MEMORY.read_text())["checksums"]
    assert [path for path in after if after[path] != before[path]] == [str(labels_of(data))]


def test_old_file_is_noticed_after_its_patient_was_left_out(data):
    planning.plan(configured(data, **everybody("6-7")), check=True)
    planning.plan(configured(data, **everybody("7")), check=True)
    replace(labels_of(data), 1e9)
    planning.plan(configured(data, **everybody("7")), check=True)
    with pytest.raises(InputError, match=re.escape(f"touch '{labels_of(data)}'")):
        planning.plan(configured(data, **everybody("6-7")), check=True)


@pytest.mark.parametrize("spelling", ["my data", "./my data/", "link"])
def test_old_file_is_noticed_under_another_spelling(data, spelling):
    Path("link").symlink_to(data)
    planning.plan(configured(data, **everybody("6-7")), check=True)
    replace(labels_of(data), 1e9)
    with pytest.raises(InputError, match=re.escape(f"touch '{labels_of(data)}'")):
        planning.plan(configured(spelling, **everybody("6-7")), check=True)


def test_file_replaced_while_its_patient_was_left_out_is_taken(data):
    """Its time is later than the old one was seen, though others were checked since."""
    planning.plan(configured(data, **everybody("6-7")), check=True)
    replace(labels_of(data), time.time() + 1)
    MEMORY.touch()
    planning.plan(configured(data, **everybody("7")), check=True)
    os.utime(MEMORY, (4e9, 4e9))
    planning.plan(configured(data, **everybody("6-7")), check=True)


def test_changed_file_gets_a_new_link(data):
    config = configured(data, **everybody("6-7"))

    def link():
        found = planning.plan(config, check=True)
        return raw_files.linked(found, planning.contents(found)).volumes["bSSFP", "6"].labels.lstat()

    before = link()
    assert link() == before
    replace(labels_of(data), time.time() + 1)
    assert link().st_ino != before.st_ino


def test_other_rights_of_a_file_are_no_change(data):
    """Though the time of its change is another."""
    config = configured(data, **everybody("6-7"))

    def link():
        found = planning.plan(config, check=True)
        return raw_files.linked(found, planning.contents(found)).volumes["bSSFP", "6"].labels.lstat()

    before = link(), json.loads(MEMORY.read_text())["since"]
    time.sleep(0.05)
    labels_of(data).chmod(0o640)
    assert (link(), json.loads(MEMORY.read_text())["since"]) == before


def test_contents_are_those_of_all_files_whether_checked_or_not(data):
    config = configured(data, **everybody("6-7"))
    found = planning.plan(config, check=False)
    read = planning.contents(found)
    assert read == checksums.sha256(read)
    assert len(set(read.values())) == 8
    assert planning.contents(planning.plan(config, check=True)) == read


def test_name_with_a_comma_is_not_sent_to_a_cluster():
    planning.check_sendable(["6", "anna maria", "d'Arc", "a=b:c", "50% #&(7)"])
    with pytest.raises(InputError, match=r"patient 'Doe, Jane': .* of 'Doe, Jane', 'a,b', or run on one machine"):
        planning.check_sendable(["6", "Doe, Jane", "a,b"])


@pytest.mark.parametrize("character", list(" \t\n\"'\\\\$&;()<>|`*?[]"))
def test_interpreter_whose_path_a_shell_splits_is_refused(character):
    with pytest.raises(InputError, match="at which a shell splits it"):
        planning.check_interpreter(f"/home/me/my{character}work/.venv/bin/python")


@pytest.mark.parametrize("path", ["/home/me/.venv/bin/python", "/home/jürgen/läb-1_2.0/p+q,r=s@t/python3.11"])
def test_interpreter_of_a_plain_path_is_accepted(path):
    planning.check_interpreter(path)
    assert subprocess.run(f"echo {path}", shell=True, capture_output=True, text=True).stdout == f"{path}\n"


@pytest.mark.parametrize(("content", "age", "refused"), [("new", 60, True), ("new", -60, False), ("old", 60, False)])
def test_new_content_under_an_older_time_is_refused(tmp_path, content, age, refused):
    path, since = tmp_path / "of a release.nii.gz", time.time()
    path.touch()
    os.utime(path, (since - age, since - age))
    before = {str(path): planning.Seen("old", since)}
    if refused:
        with pytest.raises(InputError, match=r"Run: touch '.*of a release\.nii\.gz'"):
            planning._check_times(before, {str(path): content})
    else:
        planning._check_times(before, {str(path): content})


def test_results_below_the_data_are_not_read_as_data(data, monkeypatch):
    """`data: .` finds the same files in the second call, when there are results below it."""
    monkeypatch.chdir(data)
    config = configured(".", **everybody(6, 7))
    expected = planning.plan(config, check=False).volumes
    for name in ("results/masks/patient6_LGE.nii.gz", "results/patient6_C0.nii.gz"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert planning.plan(config, check=False).volumes == expected


def turned_cohort(data):
    """The cohort of one image that is stored upside down, as its header says."""
    oblique = np.eye(4)
    directions = np.linalg.qr([[-0.65, -0.4, 0.6], [-0.72, 0.2, -0.65], [-0.15, 0.9, 0.45]])[0]
    oblique[:3, :3] = directions * (1.25, 1.25, 8)
    for path in Path(data).rglob("*.nii.gz"):
        image = nib.load(path)
        affine = oblique @ np.diag([-1, -1, 1, 1]) if path.name == "patient7_LGE.nii.gz" else oblique
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)


def test_jobs_know_what_is_turned(data):
    turned_cohort(data)
    config = configured(data, **everybody(6, 7))
    config["cohort"]["splits"]["labelled"] = [6]
    first = planning.plan(config, check=True)
    assert first.turned == {("LGE", "7"): Turn(False, True, True)}
    assert any("turned by 180 degrees" in note for note in first.oddities)
    assert planning.plan(config, check=True).turned == planning.plan(config, check=False).turned == first.turned


def test_plan_of_another_cohort_does_not_change_what_jobs_turn(data):
    turned_cohort(data)
    config = configured(data, **everybody(6, 7))
    config["cohort"]["splits"]["labelled"] = [6]
    first = planning.plan(config, check=True)
    other = configured(data, **everybody(6))
    assert planning.plan(other, check=True).turned == {}
    assert planning.plan(config, check=False).turned == first.turned != {}
    with pytest.raises(InputError, match=r"checked\.json: has no record of this cohort"):
        planning.plan(configured(data, **everybody(7)), check=False)


def test_plan_after_an_image_has_changed_finds_anew_what_is_turned(data):
    turned_cohort(data)
    config = configured(data, **everybody(6, 7))
    config["cohort"]["splits"]["labelled"] = [6]
    assert planning.plan(config, check=True).turned
    path = next(Path(data).rglob("patient7_LGE.nii.gz"))
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine @ np.diag([-1, -1, 1, 1])), path)
    other = configured(data, **everybody(7))
    planning.plan(other, check=True)
    assert planning.plan(config, check=True).turned == planning.plan(config, check=False).turned == {}

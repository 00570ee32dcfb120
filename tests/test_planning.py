import copy
import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

import planning
from cardioseg import phantom
from cardioseg.errors import InputError

PAPER = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())


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
        for key, path in phantom.release_files(folder, patient).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (32, 34, 3)
            array = rng.choice([0, 500, 200, 600], shape) if key.endswith("labels") else rng.integers(0, 99, shape)
            nib.save(nib.Nifti1Image(array.astype(np.int16), np.diag([1.25, 1.25, 8, 1])), path)
    return str(folder)


MEMORY = Path("results/cohort/checked.json")


def test_phantom_of_the_paper():
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
        files = phantom.release_files(Path("results/phantom"), patient)
        assert found.volumes["LGE", str(patient)].image == files["LGE"]
        assert found.volumes["LGE", str(patient)].labels == files["LGE_labels"]
        if patient > 5:
            assert found.volumes["bSSFP", str(patient)].image == files["bSSFP"]
            assert found.volumes["bSSFP", str(patient)].labels == files.get("bSSFP_labels")


def test_phantom_patients():
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
def test_phantom_files(like):
    names = planning.phantom_files("some/folder", "{patient}", like)
    assert [name.replace("{patient}", str(like)) for name in names] == [
        path.as_posix() for path in phantom.release_files(Path("some/folder"), like).values()
    ]
    assert all(name.count("{patient}") == 1 for name in names)


def test_checked_data_is_remembered(data, monkeypatch):
    config = configured(data, **everybody("6-7"))
    found = planning.plan(config, check=True)
    assert found.patients("LGE") == ["6", "7"]
    assert all("codes of another convention?" in note for note in found.oddities)
    assert found.oddities
    remembered = json.loads(MEMORY.read_text())
    # Four volumes, two pairs, and twice the whole.
    assert len(remembered["volumes"]) == 8
    assert list(MEMORY.parent.iterdir()) == [MEMORY]

    def read(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(planning.cohort, "check_volume", read)
    again = planning.plan(config, check=True)
    assert again == dataclasses.replace(found, oddities=[])
    assert json.loads(MEMORY.read_text()) == remembered


def test_other_code_checks_again(data, monkeypatch):
    config = configured(data, **everybody("6-7"))
    planning.plan(config, check=True)
    before = json.loads(MEMORY.read_text())
    monkeypatch.setattr(planning.cohort, "check_volume", lambda *_: ["odd"])
    planning.plan(config, check=True)
    assert json.loads(MEMORY.read_text()) == before
    planning.plan(config, check=True, code="other")
    assert json.loads(MEMORY.read_text())["volumes"] != before["volumes"]


def test_jobs_do_not_check_again(data, monkeypatch):
    monkeypatch.setattr(planning.cohort, "check_volumes", None)
    planning.plan(configured(data, **everybody("6-7")), check=False)
    assert not Path("results").exists()


def test_bad_data_leaves_nothing(data):
    path = phantom.release_files(Path(data), 7)["LGE"]
    path.write_bytes(path.read_bytes()[:800])
    with pytest.raises(InputError, match=r"patient7_LGE\.nii\.gz: voxels cannot be read"):
        planning.plan(configured(data, **everybody("6-7")), check=True)
    assert not Path("results").exists()


def test_changed_file_is_checked_again(data):
    config = configured(data, **everybody("6-7"))
    planning.plan(config, check=True)
    path = phantom.release_files(Path(data), 6)["LGE_labels"]
    nib.save(nib.Nifti1Image(np.full((32, 34, 3), 7, np.int16), np.diag([1.25, 1.25, 8, 1])), path)
    with pytest.raises(InputError, match="label value 7"):
        planning.plan(config, check=True)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", "{}", "\udcff"])
def test_damaged_memory_is_made_anew(data, content):
    MEMORY.parent.mkdir(parents=True)
    MEMORY.write_bytes(content.encode("utf-8", "surrogateescape"))
    planning.plan(configured(data, **everybody("6-7")), check=True)
    assert len(json.loads(MEMORY.read_text())["volumes"]) == 8


def test_unused_files_are_not_checked(data):
    path = phantom.release_files(Path(data), 7)["LGE"]
    path.write_bytes(b"")
    planning.plan(configured(data, **everybody("6")), check=True)


def test_missing_folder():
    with pytest.raises(InputError, match="data: nowhere is no folder"):
        planning.plan(configured("nowhere"), check=True)

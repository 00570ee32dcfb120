import hashlib
import json
import sys
from importlib import metadata

import matplotlib.image
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cardioseg import command
from cardioseg.model import batch
from cardioseg.phantoms import heart
from trained import write_results


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Images of two patients, and a file that is none."""
    folder = tmp_path_factory.mktemp("cohort")
    for patient in (60, 61):
        heart.write_patient(folder / "release", patient, seed=1, matrix_scale=0.25)
        heart.release_files(folder / "release", patient)["LGE"].rename(folder / f"{patient}.nii.gz")
    (folder / "broken.nii").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory, cohort):
    return write_results(tmp_path_factory.mktemp("results"), nib.load(cohort / "60.nii.gz").affine)


def segment(results, out, *arguments):
    return command.main(["segment", *map(str, arguments), "--model", str(results), "--out", str(out)])


def test_what_is_written(cohort, results, tmp_path):
    out = tmp_path / "out"
    # Networks that learnt nothing are looked at.
    assert segment(results, out, cohort / "60.nii.gz", cohort / "61.nii.gz", "--device", "cpu") == command.REVIEW
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == [
        *("masks/60.nii.gz", "masks/61.nii.gz", "results.csv", "results.json", "slices/60.png", "slices/61.png"),
        *("uncertainty/60.nii.gz", "uncertainty/61.nii.gz"),
    ]
    image, mask = nib.load(cohort / "60.nii.gz"), nib.load(out / "masks" / "60.nii.gz")
    np.testing.assert_array_equal(mask.affine, image.affine)
    assert mask.shape == image.shape
    codes = np.asarray(mask.dataobj)
    assert {500, 200, 600} >= set(np.unique(codes)) - {0}
    entropy = nib.load(out / "uncertainty" / "60.nii.gz").get_fdata()
    assert entropy.shape == image.shape
    assert 0 < entropy.max() <= 1
    assert matplotlib.image.imread(out / "slices" / "60.png").std() > 0

    table = pd.read_csv(out / "results.csv", dtype={"name": str}).set_index("name")
    assert list(table.index) == ["60", "61"]
    voxel_ml = np.prod(image.header.get_zooms()) / 1000
    for name, code in (("LV", 500), ("MYO", 200), ("RV", 600)):
        assert table.loc["60", f"{name}_volume_ml"] == pytest.approx((codes == code).sum() * voxel_ml, abs=1e-3)
    assert table.loc["60", "MYO_mass_g"] == pytest.approx(1.05 * table.loc["60", "MYO_volume_ml"], abs=2e-3)
    assert {"MYO_thickness_mm", "LV_agreement", "RV_agreement"} < set(table.columns)

    told = json.loads((out / "results.json").read_text())
    assert told["structures"] == {"LV": 500, "MYO": 200, "RV": 600}
    assert told["trained_with"] == {"code": "abc", "torch": "9.9"}
    assert [entry["status"] for entry in told["images"]] == list(table["status"]) == ["review", "review"]
    assert "; ".join(told["images"][0]["reasons"]) == table.loc["60", "reasons"]


def test_one_bad_image_does_not_stop_the_others(cohort, results, tmp_path, capsys):
    assert segment(results, tmp_path, cohort / "broken.nii", cohort / "60.nii.gz") == command.FAILED
    table = pd.read_csv(tmp_path / "results.csv", dtype={"name": str})
    assert list(table["name"]) == ["broken", "60"]
    assert list(table["status"]) == ["failed", "review"]
    assert "cannot be read as NIfTI" in table["reasons"][0]
    assert not (tmp_path / "masks" / "broken.nii.gz").exists()
    told = capsys.readouterr()
    assert told.err.startswith("broken  failed: ")
    assert "60  LV " in told.out
    assert "1 segmented, 1 of them to be looked at, 1 failed" in told.out


def test_bar_on_a_terminal_alone(capsys, monkeypatch):
    batch._bar(1, 4, 10.0)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    batch._bar(1, 4, 10.0)
    assert capsys.readouterr().err.endswith("[######                  ] 1/4, 0:00:30 left")
    batch._bar(4, 4, 40.0)
    assert "4/4" not in capsys.readouterr().err  # what is done leaves the line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["nowhere.nii"], "nowhere.nii: no such file"), (["60.nii.gz", "--device", "cuda:7"], "no GPU")],
)
def test_faults_are_told_before_anything_is_written(cohort, results, tmp_path, capsys, arguments, expected):
    image, *options = arguments
    assert segment(results, tmp_path / "out", cohort / image, *options) == command.FAILED
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_model(cohort, tmp_path, capsys):
    assert segment(tmp_path / "model.pt", tmp_path / "out", cohort / "60.nii.gz") == command.FAILED
    assert "no such model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["segment"], ["segment", "a.nii", "--model", "m", "--out", "o", "--threads", "0"]]
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "usage: cardioseg" in capsys.readouterr().err


def export(results, out, *options):
    return command.main(["export", str(results), "--out", str(out), *options])


def test_exported_ensemble_gives_the_same_masks(cohort, results, tmp_path):
    assert export(results, tmp_path / "model", "--licence", "CC BY 4.0") == command.DONE
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["MODEL_CARD.md", "ensemble.pt"]
    assert (tmp_path / "model" / "MODEL_CARD.md").read_text().endswith("## Licence\n\nCC BY 4.0\n")
    masks = []
    for name, model in (("a", results), ("b", tmp_path / "model" / "ensemble.pt")):
        segment(model, tmp_path / name, cohort / "60.nii.gz")
        masks.append((tmp_path / name / "masks" / "60.nii.gz").read_bytes())
    assert masks[0] == masks[1]
    told = json.loads((tmp_path / "b" / "results.json").read_text())
    assert told["model_sha256"] == hashlib.sha256((tmp_path / "model" / "ensemble.pt").read_bytes()).hexdigest()


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"cardioseg {metadata.version('cardioseg')}\n"


def test_export_without_a_model(tmp_path, capsys):
    assert export(tmp_path / "nowhere", tmp_path / "out") == command.FAILED
    assert "nowhere: no such model" in capsys.readouterr().err
    assert export(tmp_path, tmp_path / "out") == command.FAILED
    assert "ensemble.pt: no such model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_export_as_onnx_without_its_packages(cohort, results, tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "cardioseg.model.onnx_export", raising=False)
    monkeypatch.delattr("cardioseg.model.onnx_export", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export(results, tmp_path / "out", "--onnx", str(cohort / "60.nii.gz")) == command.FAILED
    assert "Install the packages onnx, onnxruntime and onnxscript." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

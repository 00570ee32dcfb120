import os

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import dicom_files
from cardioseg import command
from cardioseg.evaluation import measures, metrics, thirds

SPACING = (8.0, 1.5, 1.25)


def ring(radius):
    """A cavity in a wall of 6 pixels with a block beside them, in five slices, by the codes of MS-CMRSeg."""
    y, x = np.ogrid[:64, :64]
    distance = np.hypot(y - 30, x - 34)
    labels = np.select([distance < radius, distance < radius + 6, (x < 12) & (y > 20)], [500, 200, 600], 0)
    return np.repeat(labels[None], 5, axis=0).astype(np.int16)


def store(path, labels, spacing=SPACING):
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(labels.T, np.diag([*spacing[::-1], 1])), path)


@pytest.fixture
def folder(tmp_path):
    for name, radius in (("anna", 10), ("bert", 13)):
        store(tmp_path / "mine" / f"{name}.nii.gz", ring(radius))
        store(tmp_path / "manual" / f"{name}.nii.gz", ring(11))
    store(tmp_path / "manual" / "carl.nii.gz", ring(11))  # without a mask
    return tmp_path


def evaluate(folder, *options, masks="mine", truth="manual"):
    call = ["evaluate", str(folder / masks), str(folder / truth), "--out", str(folder / "out"), *options]
    return command.main(call)


def test_tables_are_those_of_the_workflow(folder, capsys):
    assert evaluate(folder) == command.DONE
    table = measures.read(folder / "out" / "metrics.csv")
    assert list(table.columns) == measures.COLUMNS
    assert list(zip(table["patient"], table["structure"], strict=True)) == [
        (patient, name) for patient in ("anna", "bert") for name in ("LV", "MYO", "RV")
    ]
    known = {500: 1, 200: 2, 600: 3}
    mask, truth = (np.vectorize(lambda code: known.get(code, 0))(ring(radius)) for radius in (10, 11))
    expected = metrics.compare(mask, truth, SPACING, ["LV", "MYO", "RV"])
    for row, found in zip(table.to_dict("records"), expected, strict=False):
        for name, value in metrics.measure(found, SPACING).items():
            assert row[name] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-5))
    assert table["wall_thickness_mm"].notna().sum() == 2
    parts = measures.read(folder / "out" / "metrics_thirds.csv")
    assert list(parts.columns) == measures.THIRDS_COLUMNS
    assert len(parts) == 3 * len(table)
    assert parts["third"].tolist()[:3] == list(thirds.THIRDS)
    # All slices are alike.
    assert parts["dice"].tolist() == pytest.approx(np.repeat(table["dice"], 3).tolist(), abs=1e-5)
    quantities = pd.read_csv(folder / "out" / "clinical.csv")
    assert set(quantities["method"]) == {"manual", "mine"}
    assert set(pd.read_csv(folder / "out" / "bland_altman.csv")["method"]) == {"mine"}
    assert capsys.readouterr().out == (folder / "out" / "summary.txt").read_text()


def test_masks_of_a_folder_called_manual_are_told_from_the_manual_ones(folder):
    (folder / "other").mkdir()
    (folder / "mine").rename(folder / "other" / "manual")
    assert evaluate(folder, masks="other/manual") == command.DONE
    table = pd.read_csv(folder / "out" / "clinical.csv")
    assert table.groupby("patient")["method"].apply(list).tolist() == [["manual", "manual (masks)"]] * 2
    assert set(pd.read_csv(folder / "out" / "bland_altman.csv")["method"]) == {"manual (masks)"}


@pytest.mark.parametrize("part", ["folder", "mask", "manual mask", "bad mask"])
def test_name_that_is_not_utf8_is_escaped(folder, capsys, part):
    odd = os.fsdecode(b"M\xfcller")
    moved = {
        "folder": [("mine", odd)],
        "mask": [(f"{kind}/anna.nii.gz", f"{kind}/{odd}.nii.gz") for kind in ("mine", "manual")],
        "manual mask": [("manual/carl.nii.gz", f"manual/{odd}.nii.gz")],
        "bad mask": [("mine/anna.nii.gz", f"mine/{odd}.nii.gz")],  # its manual mask is called otherwise
    }
    for old, new in moved[part]:
        (folder / old).rename(folder / new)
    masks = odd if part == "folder" else "mine"
    assert evaluate(folder, masks=masks) == (command.FAILED if part == "bad mask" else command.DONE)
    printed = capsys.readouterr()
    assert printed.err == ""
    told = printed.out if part == "manual mask" else (folder / "out" / "clinical.csv").read_text()
    assert r"M\xfcller" in told


def test_manual_masks_without_a_mask_are_named(folder, capsys):
    assert evaluate(folder) == command.DONE
    assert capsys.readouterr().out.splitlines()[-1] == "no mask of: carl"
    (folder / "manual" / "carl.nii.gz").unlink()
    figures = (folder / "out" / "metrics.csv").read_text()
    assert evaluate(folder) == command.DONE
    assert "no mask" not in capsys.readouterr().out
    assert (folder / "out" / "metrics.csv").read_text() == figures


def test_single_files_of_other_codes_belong_together(folder):
    store(folder / "a.nii", (ring(10) == 500).astype(np.uint8))
    store(folder / "b.nii", (ring(11) == 500).astype(np.uint8))
    assert evaluate(folder, "--structures", "cavity=1", masks="a.nii", truth="b.nii") == command.DONE
    assert "no mask of" not in (folder / "out" / "summary.txt").read_text()
    table = measures.read(folder / "out" / "metrics.csv")
    assert list(table["structure"]) == ["cavity"]
    assert table["wall_thickness_mm"].isna().all()


def test_manual_masks_may_have_values_of_their_own(folder):
    """As those of ACDC have, where the right ventricle has the value that the left one has elsewhere."""
    assert evaluate(folder) == command.DONE
    tables = ("metrics.csv", "metrics_thirds.csv", "clinical.csv", "bland_altman.csv")
    expected = [(folder / "out" / name).read_text() for name in tables]
    for path in (folder / "mine").iterdir():
        labels = np.asarray(nib.load(path).dataobj).T
        store(path, np.select([labels == 500, labels == 200, labels == 600], [1, 2, 3]).astype(np.uint8))
    for path in (folder / "manual").iterdir():
        labels = np.asarray(nib.load(path).dataobj).T
        scarred = np.where((labels == 200) & (np.arange(64) < 30), 4, np.select([labels == 500, labels == 200], [3, 2]))
        atrium = (labels == 0) & (np.arange(64) > 60)
        store(path, np.select([labels == 600, atrium], [1, 9], scarred).astype(np.uint8))
    options = [
        "--structures",
        "LV=1",
        "MYO=2",
        "RV=3",
        "--manual-structures",
        "background=9",
        "MYO=2,4",
        "LV=3",
        "RV=1",
    ]
    assert evaluate(folder, *options) == command.DONE
    assert [(folder / "out" / name).read_text() for name in tables] == expected


def test_structure_that_nobody_has_outlined_is_left_out_as_background(folder):
    for path in (folder / "manual").iterdir():
        labels = np.asarray(nib.load(path).dataobj).T
        store(path, np.where(labels == 600, 0, labels))
    assert evaluate(folder, "--structures", "background=600", "LV=500", "MYO=200") == command.DONE
    table = measures.read(folder / "out" / "metrics.csv")
    assert list(table["structure"]) == ["LV", "MYO"] * 2
    assert table["dice"].min() > 0.6


def test_mask_that_lies_elsewhere_by_its_header_is_measured_and_named(folder, capsys):
    path = folder / "mine" / "bert.nii.gz"
    mask = nib.load(path)
    moved = mask.affine + np.pad([[50.0]], ((0, 3), (3, 0)))
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), moved), path)
    assert evaluate(folder) == command.DONE
    line = "bert  lies elsewhere than the manual mask by its header; measured voxel by voxel"
    assert line in capsys.readouterr().out.splitlines()
    assert measures.read(folder / "out" / "metrics.csv")["dice"].min() > 0.6


@pytest.mark.parametrize("call", [{"masks": "series"}, {"truth": "series"}])
def test_dicom_is_named_as_a_folder_in_place_of_a_mask(folder, capsys, call):
    dicom_files.write_series(folder / "series", ring(10).astype(np.uint16), np.diag([1.25, 1.5, 8, 1]))
    single = {"masks": "mine/anna.nii.gz", "truth": "manual/anna.nii.gz"}
    assert evaluate(folder, **single | call) == command.FAILED
    assert "series: is a folder; expected a NIfTI file" in capsys.readouterr().err


SPOILT = {
    "no manual mask": (lambda bert, manual: manual.unlink(), "has no manual mask of its name"),
    "other shape": (lambda bert, manual: store(bert, ring(10)[:, :, 1:]), "that of its image or manual mask"),
    "other geometry": (
        lambda bert, manual: store(bert, ring(10), (8.0, 1.5, 1.5)),
        "8 x 1.5 x 1.25 mm, those of its image or manual mask",
    ),
    "other codes": (lambda bert, manual: store(bert, ring(10) + 1), "is not expected"),
    "manual mask of other codes": (lambda bert, manual: store(manual, ring(10) + 1), "is not expected"),
    "damaged": (lambda bert, manual: bert.write_bytes(b"no image"), "cannot be read as NIfTI"),
    "damaged manual mask": (lambda bert, manual: manual.write_bytes(b"no image"), "cannot be read as NIfTI"),
    "other format": (lambda bert, manual: bert.rename(bert.with_name("bert.mha")), "bert.mha: has no manual mask"),
}


@pytest.mark.parametrize(("spoil", "expected"), SPOILT.values(), ids=SPOILT)
def test_mask_that_cannot_be_measured_fails_alone(folder, capsys, spoil, expected):
    spoil(folder / "mine" / "bert.nii.gz", folder / "manual" / "bert.nii.gz")
    assert evaluate(folder) == command.FAILED
    printed = capsys.readouterr()
    (line,) = [line for line in printed.out.splitlines() if "failed" in line]
    assert line.startswith("bert")
    assert expected in line
    assert line in (folder / "out" / "summary.txt").read_text().splitlines()
    table = measures.read(folder / "out" / "metrics.csv").set_index(["patient", "structure"])
    failed = table[[name.startswith("bert") for name, _ in table.index]]
    assert failed.index.get_level_values("structure").tolist() == ["LV", "MYO", "RV"]
    assert failed.drop(columns=["method", "split"]).isna().all(axis=None)
    # The other's values, and the means, are those of a call without the failed one.
    assert evaluate(folder, "--out", str(folder / "alone"), masks="mine/anna.nii.gz", truth="manual/anna.nii.gz") == 0
    alone = measures.read(folder / "alone" / "metrics.csv").set_index(["patient", "structure"])
    pd.testing.assert_frame_equal(table.loc[["anna"]].drop(columns="method"), alone.drop(columns="method"))
    bias, bias_alone = (pd.read_csv(folder / out / "bland_altman.csv")["bias"] for out in ("out", "alone"))
    assert bias.tolist() == bias_alone.tolist()
    means, means_alone = (
        (folder / out / "summary.txt").read_text().splitlines()[1].split() for out in ("out", "alone")
    )
    assert means[1:] == means_alone[1:]
    assert len(measures.read(folder / "out" / "metrics_thirds.csv")) == 3 * len(table)
    assert pd.read_csv(folder / "out" / "clinical.csv").groupby("patient").size().tolist() == [2, 2]


def test_masks_none_of_which_can_be_measured_leave_no_tables(folder, capsys):
    for name in ("anna", "bert"):
        (folder / "mine" / f"{name}.nii.gz").rename(folder / "mine" / f"{name}_mask.nii.gz")
    assert evaluate(folder) == command.FAILED
    message = capsys.readouterr().err
    assert "anna_mask.nii.gz: has no manual mask of its name" in message
    assert "others, 1, cannot be measured" in message
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", ["cohort/made_from.json", "model/ensemble.pt"])
def test_tables_of_a_workflow_are_not_overwritten(folder, capsys, name):
    (folder / "out" / name).parent.mkdir(parents=True)
    (folder / "out" / name).touch()
    (folder / "out" / "metrics.csv").write_text("of the workflow")
    assert evaluate(folder) == command.FAILED
    assert f"out: holds the results of a workflow ({name})" in capsys.readouterr().err
    assert (folder / "out" / "metrics.csv").read_text() == "of the workflow"
    assert not (folder / "out" / "clinical.csv").exists()


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--structures", "LV=1", "MYO=1"], "--structures: a name or a code stands there twice; expected each once"),
        (["--structures", "LV=1", "LV=2"], "--structures: a name or a code stands there twice"),
        (["--structures", "LV=1", "MYO=2,1"], "--structures: a name or a code stands there twice"),
        (["--structures", "background=1"], "--structures: names no structure"),
        (["--manual-structures", "LV=200"], "--manual-structures: a name or a code stands there twice"),
        (["--manual-structures", "Lv=1"], "--manual-structures: Lv is not in --structures (LV, MYO, RV)"),
    ],
)
def test_structures_that_contradict_each_other_are_refused(folder, capsys, options, shown):
    assert evaluate(folder, *options) == command.FAILED
    assert shown in capsys.readouterr().err


@pytest.mark.parametrize("name", [measures.AVERAGE, "mean"])
def test_structure_may_not_be_called_as_what_tables_name_beside_structures(folder, capsys, name):
    with pytest.raises(SystemExit, match="2"):
        evaluate(folder, "--structures", f"{name}=500")
    assert f"{name} is what no structure may be called" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["LV", "LV=", "=3", "LV=0", "LV=x", "LV=1,", "LV=1,x"])
def test_structure_without_a_code_is_wrong_usage(folder, text):
    with pytest.raises(SystemExit, match="2"):
        evaluate(folder, "--structures", text)

"""The overlays of public cohorts, on files made in their layouts."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import yaml

from bad_input import ROOT
from cardioseg.cohort import plan
from cardioseg.core import configuration, volumes
from cardioseg.core.errors import InputError

ACDC = [
    f"ACDC/database/{folder}/patient{number}/patient{number}_{name}"
    for folder, number in (("training", "001"), ("training", "002"), ("testing", "101"))
    for name in ("4d.nii.gz", "frame01.nii.gz", "frame01_gt.nii.gz", "frame12.nii.gz", "frame12_gt.nii.gz")
] + ["ACDC/database/training/patient001/Info.cfg"]
MNMS = [f"M&Ms/{name}_sa_ed{kind}.nii.gz" for name in ("A0S9V9", "B3E2W8") for kind in ("", "_gt")]
EMIDEC = [
    f"emidec-dataset-1.0.1/Case_{name}/{folder}/Case_{name}.nii.gz"
    for name in ("N006", "P001", "P002")
    for folder in ("Images", "Contours")
] + ["emidec-dataset-1.0.1/Case P001.txt"]
MYOPS = [
    *(f"train25/myops_training_{number}_{name}.nii.gz" for number in (101, 121) for name in ("C0", "DE", "T2")),
    *(f"train25_myops_gd/myops_training_{number}_gd.nii.gz" for number in (101, 121)),
    *(f"test20/myops_test_201_{name}.nii.gz" for name in ("C0", "DE", "T2")),
]


def configured(*overlays):
    def merged(below, above):
        both = {key: merged(below[key], above[key]) for key in above if isinstance(below.get(key), dict) and above[key]}
        return below | above | both

    config = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    for name in ("mscmrseg", *overlays):
        config = merged(config, yaml.safe_load((ROOT / "demo" / f"{name}.yaml").read_text("utf-8")))
    configuration.check(config)
    return config


def test_acdc_and_emidec_layouts_are_found():
    found = plan.find("data", ACDC + EMIDEC, configured("acdc", "emidec")["cohort"])
    assert found.splits == {
        "labelled": ["001", "002"],
        "translation_source": ["001", "002", "101"],
        "translation_target": ["N006", "P001", "P002"],
        "validation": [],
        "test": ["N006", "P001", "P002"],
    }
    files = found.volumes["bSSFP", "002"]
    assert (files.image.name, files.labels.name) == ("patient002_frame01.nii.gz", "patient002_frame01_gt.nii.gz")
    files = found.volumes["LGE", "N006"]
    assert (files.image.parent.name, files.labels.parent.name) == ("Images", "Contours")


def test_mnms_and_emidec_layouts_are_found():
    found = plan.find("data", MNMS + EMIDEC, configured("mnms", "emidec")["cohort"])
    assert found.splits["labelled"] == found.splits["translation_source"] == ["A0S9V9", "B3E2W8"]
    assert found.volumes["bSSFP", "A0S9V9"].labels.name == "A0S9V9_sa_ed_gt.nii.gz"


def test_myops_layout_is_found():
    found = plan.find("data", MYOPS, configured("myops")["cohort"])
    assert (found.splits["labelled"], found.splits["validation"], found.splits["test"]) == (["101"], ["121"], ["201"])
    for modality, name in (("bSSFP", "C0"), ("LGE", "DE")):
        files = found.volumes[modality, "121"]
        assert (files.image.name, files.labels.name) == (
            f"myops_training_121_{name}.nii.gz",
            "myops_training_121_gd.nii.gz",
        )
        assert found.volumes[modality, "201"].labels is None


@pytest.mark.parametrize(
    ("overlay", "role", "values", "expected"),
    [
        ("acdc", "source", [0, 1, 2, 3], [0, 3, 2, 1]),
        ("mnms", "source", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("emidec", "target", [0, 1, 2, 3, 4], [0, 1, 2, 2, 2]),
        ("myops", "source", [0, 200, 500, 600, 1220, 2221], [0, 2, 1, 3, 2, 2]),
        ("myops", "target", [0, 200, 500, 600, 1220, 2221], [0, 2, 1, 3, 2, 2]),
    ],
)
def test_codes_of_every_layout_become_the_classes(tmp_path, overlay, role, values, expected):
    """LV is 1, MYO 2 and RV 3, whatever a cohort calls them."""
    stored = np.resize(values, (8, 8, 4)).astype(np.int16)
    nib.save(nib.Nifti1Image(stored, np.diag([1, 1, 8, 1])), tmp_path / "labels.nii.gz")
    codes = configuration.label_codes(configured(overlay), role)
    read = volumes.read_labels(tmp_path / "labels.nii.gz", codes).array
    np.testing.assert_array_equal(read, np.array(expected)[np.searchsorted(values, stored.T)])


def test_emidec_has_no_right_ventricle_and_the_others_have_all():
    for overlay, role, expected in (
        *(("emidec", "target", ["RV"]), ("emidec", "source", []), ("acdc", "source", [])),
        *(("mnms", "source", []), ("myops", "source", []), ("myops", "target", [])),
    ):
        assert volumes.unlabelled(configuration.label_codes(configured(overlay), role)) == expected
    # RV may be left out altogether, which the overlay need not know.
    config = configured("emidec")
    config["cohort"]["structures"]["RV"] = None
    config["cohort"]["source"]["codes"] = {"background": [600]}
    assert configuration.label_codes(config, "target") == {"LV": [1], "MYO": [2, 3, 4], "background": []}
    with pytest.raises(InputError) as refused:
        configuration.check(config)
    assert "codes" not in str(refused.value)


def test_structures_that_are_left_out_become_background(tmp_path):
    """The values of the structures that are left out are background."""
    config = configured()
    config["cohort"]["structures"] |= {"LV": None, "RV": None}
    config["cohort"]["source"]["codes"] = {"background": [500, 600]}
    codes = configuration.label_codes(config, "source")
    stored = np.resize([0, 500, 200, 600], (8, 8, 4)).astype(np.int16)
    nib.save(nib.Nifti1Image(stored, np.diag([1, 1, 8, 1])), tmp_path / "labels.nii.gz")
    read = volumes.read_labels(tmp_path / "labels.nii.gz", codes).array
    np.testing.assert_array_equal(read, stored.T == 200)


def test_end_diastole_of_mnms(tmp_path):
    labels = np.zeros((9, 8, 4, 6), np.int16)
    labels[2:4, 2:4, :, 1], labels[1:7, 1:7, :, 4] = 1, 1
    frames = np.random.default_rng(0).integers(0, 99, labels.shape).astype(np.int16)
    affine = np.diag([1.2, 1.2, 9, 1])
    (tmp_path / "Labeled" / "A0").mkdir(parents=True)
    for name, array in (("A0_sa", frames), ("A0_sa_gt", labels), ("B1_sa", frames), ("B1_sa_gt", 0 * labels)):
        nib.save(nib.Nifti1Image(array, affine), tmp_path / "Labeled" / "A0" / f"{name}.nii.gz")
    command = [sys.executable, ROOT / "demo" / "end_diastole.py", tmp_path / "Labeled", tmp_path / "M&Ms"]
    subprocess.run(command, check=True, timeout=120)
    assert not list((tmp_path / "M&Ms").glob("B1*"))
    nib.save(nib.Nifti1Image(labels[..., 1], affine), tmp_path / "Labeled" / "A0" / "A00_sa_gt.nii.gz")
    nib.save(nib.Nifti1Image(frames[..., 1], affine), tmp_path / "Labeled" / "A0" / "B1_sa.nii.gz")
    for name in ("A1_sa", "A1_sa_gt"):
        nib.save(nib.Nifti1Image(labels, affine), tmp_path / "Labeled" / "A0" / f"{name}.nii.gz")
    damaged = tmp_path / "Labeled" / "A0" / "A1_sa.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    shown = subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)
    assert shown.returncode == 1
    assert "A1_sa.nii.gz: it or its labels cannot be read" in shown.stderr
    assert "A00_sa.nii.gz: is missing" in shown.stderr
    assert "B1_sa.nii.gz: shape (9, 8, 4), labels (9, 8, 4, 6); expected the same 4-D one" in shown.stderr
    for name, array in (("A0_sa_ed", frames), ("A0_sa_ed_gt", labels)):
        written = nib.load(tmp_path / "M&Ms" / f"{name}.nii.gz")
        np.testing.assert_array_equal(written.dataobj, array[..., 4])
        np.testing.assert_allclose(written.affine, affine, atol=1e-6)

"""The workflow itself, run for real at the smallest size."""

import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from scipy import ndimage

from calls import METHODS, artifacts, planned, snakemake
from cardioseg import command
from cardioseg.core import checkpoints, checksums
from cardioseg.phantoms import heart

pytestmark = pytest.mark.slow
FUSION = """
fusion: {labels: [manual, predicted], stage: affine, weight: 0.9, blur_mm: [0, 2, 2], least_agreement: 0, least_area: 0}
"""


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw volumes of the tiny workflow's patients in the release's layout, at a quarter of the matrix."""
    folder = tmp_path_factory.mktemp("cohort") / "a release"
    for patient in (1, 6, 7):
        heart.write_patient(folder, patient, seed=5, matrix_scale=0.25)
    return folder


@pytest.fixture
def broken(cohort: Path, tmp_path: Path) -> Path:
    """A copy of the cohort to damage."""
    return Path(shutil.copytree(cohort, tmp_path / "data"))


def test_metrics_hold_every_method_patient_and_structure(run: Path) -> None:
    table = pd.read_csv(run / "results" / "metrics.csv", dtype={"patient": str})
    assert list(table.columns[:6]) == ["method", "split", "patient", "structure", "dice", "asd_mm"]
    assert sorted(set(table["method"])) == sorted(METHODS)
    assert set(zip(table["split"], table["patient"], strict=True)) == {("validation", "1"), ("test", "6")}
    assert set(table["structure"]) == {"LV", "MYO", "RV"}
    members = table.groupby(["method", "patient", "structure"]).size()
    assert set(members["ensemble_pp"]) == {1}
    assert set(members["cascade_ft"]) == {2}
    assert table["dice"].between(0, 1).all()


def test_tables_have_every_method(run: Path) -> None:
    results = run / "results"
    table = pd.read_csv(results / "table1.csv")
    assert sorted(set(table["method"])) == sorted(METHODS)
    # The phantom is not the paper's cohort.
    assert set(table["source"]) == {"this cohort"}
    assert "| Ensemble + PP |" in (results / "table1.md").read_text()
    assert (results / "table1.tex").read_text().count(r"\begin{table}") == 2
    assert {"method", "compared_with", "p_holm"} <= set(pd.read_csv(results / "significance.csv"))
    clinical = pd.read_csv(results / "clinical.csv")
    assert set(clinical["method"]) == {"manual", *METHODS}
    assert clinical.loc[clinical["method"] == "manual", "MYO_thickness_mm"].between(5, 15).all()
    assert set(pd.read_csv(results / "bland_altman.csv")["method"]) == set(METHODS)
    assert (results / "figures" / "bland_altman.svg").exists()


@pytest.fixture(scope="session")
def fused_run(run: Path, made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The finished tiny workflow with fusion on top, of manual and of predicted labels."""

    def make(folder: Path) -> None:
        shutil.copytree(run, folder)
        finished = snakemake(folder, "results/table1.md", "results/model/ensemble.pt", overlay=FUSION)
        assert finished.returncode == 0, finished.stdout + finished.stderr

    return made_once("fused_run", make)


def test_fusion_of_manual_and_of_predicted_labels_are_methods_of_their_own(fused_run: Path) -> None:
    table = pd.read_csv(fused_run / "results" / "metrics.csv", dtype={"patient": str})
    dice = table[table["patient"] == "6"].groupby("method")["dice"].mean()
    assert dice["ensemble_pp"] < dice["fusion_pp"]
    assert dice["fusion_own_pp"] not in (dice["ensemble_pp"], dice["fusion_pp"])
    text = (fused_run / "results" / "table1.md").read_text()
    assert "own source labels" in text
    assert "own source image" in text


def test_command_takes_the_source_image_as_the_workflow_does(fused_run: Path, tmp_path: Path) -> None:
    files = heart.release_files(fused_run / "results" / "phantom", 6)
    arguments = ["segment", str(files["LGE"]), "--source", str(files["bSSFP"])]
    arguments += ["--model", str(fused_run / "results"), "--out", str(tmp_path)]
    assert command.main(arguments) in (command.DONE, command.REVIEW)
    expected = nib.load(fused_run / "results" / "masks" / "fusion_own_pp" / "6.nii.gz")
    mask = nib.load(tmp_path / "masks" / files["LGE"].name)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(expected.dataobj))


def test_another_crf_repeats_the_fusion_and_no_prediction_of_source_images(fused_run: Path, tmp_path: Path) -> None:
    # The overlay beside it is known by the name of its folder, too.
    folder = Path(shutil.copytree(fused_run, tmp_path / "fused_run" / "work"))
    jobs = planned(folder, "results/table1.md", overlay=f"{FUSION}\npostprocessing: {{crf: {{iterations: 6}}}}")
    assert jobs["fuse"] and jobs["fuse_predicted"] and not jobs["predict_source"]


def test_predicted_labels_serve_patients_without_manual_ones(broken: Path, tmp_path: Path) -> None:
    heart.release_files(broken, 1)["bSSFP_labels"].unlink()
    jobs = planned(tmp_path, data=broken, overlay=FUSION)
    assert (jobs["register"], jobs["fuse"], jobs["predict_source"], jobs["fuse_predicted"]) == (1, 1, 2, 2)
    manual = planned(tmp_path, data=broken, overlay=FUSION.replace(", predicted", ""))
    assert (manual["fuse"], manual["predict_source"]) == (1, 0)
    assert manual["crop"] == jobs["crop"] - 1  # of patient 1's source image


@pytest.mark.parametrize("keep_largest", ["true", "false"])
def test_pseudo_labels_are_in_one_piece_where_masks_are(run: Path, tmp_path: Path, keep_largest: str) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    overlay = f"""
    self_training: {{epochs: 1, learning_rate: 0.01, targets: labels, fused: false, least_agreement: 0}}
    postprocessing: {{morphology: {{keep_largest: {keep_largest}}}}}
    """
    path = "results/self_training/seed1/pseudo_labels/6.nii.gz"
    finished = snakemake(folder, path, overlay=overlay)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    labels = np.asarray(nib.load(folder / path).dataobj).argmax(axis=-1)
    pieces = [ndimage.label(labels == label)[1] for label in (1, 2, 3)]
    assert (max(pieces) == 1) == (keep_largest == "true"), pieces


def test_members_are_trained_further_on_predictions_of_the_others(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    overlay = """
    fusion: {labels: [manual], stage: affine, weight: 0.9, blur_mm: [0, 0, 0], least_agreement: 1, least_area: 0}
    self_training: {epochs: 2, learning_rate: 0.01, targets: probabilities, fused: true, least_agreement: 0}
    """
    targets = ("results/table1.md", "results/model/ensemble.pt", "results/figures/training.png")
    jobs = planned(folder, *targets, overlay=overlay)
    assert (jobs["pseudo_label"], jobs["self_train_unet"], jobs["self_train_cascade"]) == (2, 2, 2)
    assert jobs["predict_self_trained"] == 2
    assert not {"finetune_cascade", "predict"} & set(jobs)
    finished = snakemake(folder, *targets, overlay=overlay)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    results = folder / "results"
    # The witness all but decides: patients 6 and 7 both have source labels.
    for patient in ("6", "7"):
        of_seeds = [results / "self_training" / f"seed{seed}" for seed in (1, 2)]
        seen = [np.asarray(nib.load(member / f"pseudo_labels/{patient}.nii.gz").dataobj) for member in of_seeds]
        assert all(set(np.unique(maps.argmax(axis=-1))) == {0, 1, 2, 3} for maps in seen)
        assert not np.array_equal(*seen)
    # Self-training has its own bound, and fuses the labels that fusion leaves out.
    logs = results / "logs"
    assert "left out" not in (logs / "self_training" / "seed1" / "pseudo_label.log").read_text()
    assert "left out" in (logs / "fuse" / "6.log").read_text()
    probabilities = {
        name: np.asarray(nib.load(results / f"probabilities/{name}/6.nii.gz").dataobj)
        for name in ("cascade_st_fused/seed1", "cascade_st_fused/seed2", "ensemble")
    }
    one, other, ensemble = probabilities.values()
    np.testing.assert_allclose(ensemble, (one + other) / 2, atol=1e-6)
    exported = checkpoints.load(results / "model" / "ensemble.pt")["weights"]["members"][2]
    for part, network in (("first", "unet"), ("second", "cascade")):
        trained = checkpoints.load(results / "self_training" / "seed2" / f"{network}_self_trained.pt")["weights"]
        assert all(torch.equal(exported[f"{part}.{name}"], tensor) for name, tensor in trained.items())
    table = pd.read_csv(results / "metrics.csv")
    assert set(table["method"]) == {*METHODS, "fusion_pp", "cascade_st_fused"}
    assert "self-training with source labels of target patients" in (results / "table1.md").read_text()


def test_histogram_matching_replaces_munit(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    results = folder / "results"
    figures = [f"results/figures/{name}.png" for name in ("training", "translations")]
    finished = snakemake(folder, "results/table1.md", *figures, overlay="translation: {method: histogram}")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert (results / "translation" / "history.csv").read_text().split() == ["iteration"]

    def quartiles(path: Path) -> list[float]:
        intensities = np.asarray(nib.load(path).dataobj)
        return np.percentile(intensities[intensities > -1], [25, 50, 75]).tolist()

    expected = sorted(quartiles(results / "cropped" / "LGE" / f"{patient}.nii.gz") for patient in (6, 7))
    for labelled in ("seed1/6", "seed1/7", "seed2/6", "seed2/7"):
        found = [quartiles(results / "synthetic" / f"{labelled}_{sample}.nii.gz") for sample in (1, 2)]
        np.testing.assert_allclose(sorted(found), expected, atol=0.01)
    table = pd.read_csv(results / "metrics.csv")
    assert sorted(set(table["method"])) == sorted(METHODS)
    assert table["dice"].between(0, 1).all()


def test_scar_and_segments_of_every_patient(run: Path) -> None:
    results = run / "results"
    scar = pd.read_csv(results / "scar.csv", dtype={"patient": str}).set_index(["patient", "method"])
    assert set(scar.index) == {(patient, method) for patient in ("1", "6") for method in ("manual", "ensemble_pp")}
    assert scar.xs("manual", level="method")["scar_fwhm_mass_g"].notna().all()
    segments = pd.read_csv(results / "segments.csv", dtype={"patient": str})
    assert (segments.groupby(["patient", "method"]).size() == 17).all()
    for patient in ("1", "6"):
        image = nib.load(heart.release_files(results / "phantom", int(patient))["LGE"])
        assert nib.load(results / "scar" / f"{patient}.nii.gz").shape == image.shape


def test_masks_have_the_raw_geometry_and_codes(run: Path) -> None:
    for patient in ("1", "6"):
        raw = nib.load(heart.release_files(run / "results" / "phantom", int(patient))["LGE"])
        for model in (
            "registration",
            "unet/seed1",
            "cascade_ft_crf/seed1",
            "cascade_ft_pp/seed2",
            "ensemble",
            "ensemble_pp",
        ):
            mask = nib.load(run / "results" / "masks" / model / f"{patient}.nii.gz")
            assert mask.shape == raw.shape
            np.testing.assert_allclose(mask.affine, raw.affine, atol=1e-6)
            assert set(np.unique(mask.dataobj)) <= {0, 200, 500, 600}
    assert np.asarray(mask.dataobj).any()


def test_command_gives_the_workflows_masks(run: Path, tmp_path: Path) -> None:
    files = {patient: heart.release_files(run / "results" / "phantom", patient)["LGE"] for patient in (1, 6)}
    arguments = ["segment", *map(str, files.values()), "--model", str(run / "results"), "--out", str(tmp_path)]
    assert command.main(arguments) in (command.DONE, command.REVIEW)
    for patient, image in files.items():
        expected = nib.load(run / "results" / "masks" / "ensemble_pp" / f"{patient}.nii.gz")
        mask = nib.load(tmp_path / "masks" / image.name)
        assert mask.header == expected.header
        np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(expected.dataobj))
        assert np.asarray(mask.dataobj).any()


def test_results_of_a_patient_who_is_left_out_are_told_and_removed(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    results = folder / "results"
    own = [results / "notes.txt", results / "masks" / "ensemble_pp" / "drawn by hand.nii.gz"]
    for path in own:
        path.write_text("mine")
    before = artifacts(folder)
    overlay = "cohort: {splits: {test: [], validation: ['1']}}"
    finished = snakemake(folder, overlay=overlay)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    masks = [f"masks/{model}/6.nii.gz" for model in ("ensemble_pp", "unet/seed1", "registration")]
    gone = {*masks, "uncertainty/6.nii.gz", "metrics/6.csv", "probabilities/ensemble/6.nii.gz"}
    assert "results/masks/ensemble_pp: 6.nii.gz" in finished.stdout
    assert gone < set(artifacts(folder))
    edited = results / "metrics" / "thirds" / "6.csv"
    os.utime(edited, (time.time() + 60,) * 2)
    tidied = snakemake(folder, "tidy", overlay=overlay)
    assert tidied.returncode == 0, tidied.stdout + tidied.stderr
    assert edited.exists()
    assert "These stay" in tidied.stdout
    assert "results/metrics/thirds: 6.csv" in tidied.stdout.partition("These stay")[2]
    after = artifacts(folder)
    assert gone < set(before) - set(after)
    # Patient 6 is still one to learn from.
    assert {"cropped/LGE/6.nii.gz", "synthetic/seed1/6_1.nii.gz"} < set(after)
    assert all(Path(path).name.startswith("6.") for path in set(before) - set(after))
    assert all(path.read_text() == "mine" for path in own)
    assert planned(folder, overlay=overlay) == Counter()
    assert not list((results / "logs" / "evaluate").glob("6*"))


def test_synthetic_volumes_differ_between_samples_and_seeds(run: Path) -> None:
    folder = run / "results" / "synthetic"
    names = [folder / f"seed{seed}" / f"6_{sample}.nii.gz" for seed in (1, 2) for sample in (1, 2)]
    contents = [np.asarray(nib.load(name).dataobj) for name in names]
    assert len({content.tobytes() for content in contents}) == len(names)
    assert all(content.dtype == np.float32 and np.abs(content).max() <= 1 for content in contents)


def test_translation_is_judged_beside_its_references(run: Path) -> None:
    table = pd.read_csv(run / "results" / "translation.csv", dtype={"seed": "Int64"})
    assert set(table["images"]) == {"bSSFP", "LGE", "synthetic LGE"}
    assert set(table.loc[table["images"] == "synthetic LGE", "seed"].dropna()) == {1, 2}
    assert {"LV", "MYO", "RV", "AVG"} < set(table["structure"])
    counts = table[table["images"] == "synthetic LGE"].groupby("measure")["n"].max()
    # Over both seeds: two patients with two samples each.
    assert counts["boundary_edge_ratio"] == 8
    assert counts["diversity_l1"] == 4
    assert table["value"].notna().mean() > 0.9


def test_cohort_is_reported(run: Path) -> None:
    table = pd.read_csv(run / "results" / "cohort" / "cohort.csv", dtype={"patient": str})
    assert len(table) == 6
    assert table.loc[(table["modality"] == "bSSFP") & (table["patient"] == "6"), "splits"].item() == (
        "labelled translation_source"
    )
    # Registration alone reads the bSSFP image of patient 1.
    alone = (table["modality"] == "bSSFP") & (table["patient"] == "1")
    assert table.loc[alone, "located"].item() == "not needed"
    assert set(table.loc[~alone, "located"]) <= {"yes", "no"}
    assert not (run / "results" / "located" / "bSSFP" / "1.json").exists()


def test_crop_that_leaves_out_labels_is_in_doubt(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    finished = snakemake(folder, "results/cropped/bSSFP/6.nii.gz", overlay="cropping: {size: 32}")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    doubt = json.loads((folder / "results" / "located" / "bSSFP" / "6.json").read_text())["doubt"]
    assert re.search(r"the crop leaves out \d+% of its labelled voxels$", doubt)
    assert doubt in (folder / "results" / "logs" / "crop_labelled.log").read_text()


def test_provenance_is_recorded(run: Path) -> None:
    record = json.loads((run / "results" / "provenance.json").read_text())
    assert set(record) == {"code", "versions", "packages", "hardware", "seeds", "configuration", "inputs"}
    assert {"torch", "numpy", "snakemake"} <= set(record["packages"])
    assert record["versions"]["numpy"] == record["packages"]["numpy"]
    assert record["seeds"] == {"seed": 1, "ensemble": [1, 2]}
    assert record["configuration"]["cropping"]["size"] == 64
    drawn = (run / "results" / "phantom").rglob("*.nii.gz")
    # What the phantom alone knows is no input.
    found = checksums.sha256(path for path in drawn if not path.match("*_scar.*") and not path.match("*_segments.*"))
    assert record["inputs"] == {str(Path(path).relative_to(run)): checksum for path, checksum in found.items()}
    configuration = yaml.safe_load((run / "results" / "provenance" / "configuration.yaml").read_text())
    assert configuration == record["configuration"]


def test_a_second_call_does_nothing(run: Path, tmp_path: Path) -> None:
    again = snakemake(shutil.copytree(run, tmp_path / "run"))
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_classes_are_the_structures_in_the_configured_order(run: Path) -> None:
    raw = nib.load(heart.release_files(run / "results" / "phantom", 6)["bSSFP_labels"])
    crop = nib.load(run / "results" / "cropped" / "labels" / "6.nii.gz")
    for label, code in ((1, 500), (2, 200), (3, 600)):
        volumes = [
            np.count_nonzero(np.asarray(image.dataobj) == value) * np.prod(image.header.get_zooms())
            for image, value in ((crop, label), (raw, code))
        ]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


def test_a_killed_run_on_a_raw_cohort_goes_on_to_the_same_metrics(run: Path, raw_run: Path) -> None:
    assert (raw_run / "results" / "metrics.csv").read_bytes() == (run / "results" / "metrics.csv").read_bytes()


def test_any_patient_of_the_phantom_is_planned(tmp_path: Path) -> None:
    """Where the release has labels, and where they lie, differs between its patients."""
    jobs = planned(tmp_path / "work", overlay="cohort: {splits: {test: ['5-7', '35-36', '45', '99-101', '1000']}}")
    assert (jobs["phantom_validation"], jobs["phantom"], jobs["phantom_unlabelled"]) == (2, 3, 6)
    assert (jobs["evaluate"], jobs["register"]) == (11, 5)


def test_raw_cohort_is_planned(cohort: Path, tmp_path: Path) -> None:
    jobs = planned(tmp_path, data=cohort)
    # Patient 1's bSSFP volume is registered, and nothing else reads it.
    assert (jobs["crop"], jobs["crop_labelled"]) == (3, 1)
    assert not any("phantom" in rule for rule in jobs)


def test_patient_without_source_labels_is_not_registered(broken: Path, tmp_path: Path) -> None:
    heart.release_files(broken, 1)["bSSFP_labels"].unlink()
    jobs = planned(tmp_path, data=broken)
    assert (jobs["register"], jobs["evaluate"]) == (1, 2)

import errno
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata

import matplotlib.image
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cardioseg import command
from cardioseg.core import files
from cardioseg.model import batch, image_files, segmentation
from cardioseg.model import results as results_folder
from cardioseg.phantoms import heart
from trained import write_results


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Images of two patients, and a file that is no image."""
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


def test_each_image_gets_mask_uncertainty_picture_and_row(cohort, results, tmp_path):
    out = tmp_path / "out"
    # The networks learnt nothing, so that their results are to be reviewed.
    assert segment(results, out, cohort / "60.nii.gz", cohort / "61.nii.gz", "--device", "cpu") == command.REVIEW
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == [
        *("masks/60.nii.gz", "masks/61.nii.gz", "report.html", "results.csv", "results.json"),
        *("slices/60.png", "slices/61.png", "structures.ctbl", "structures.label"),
        *(f"uncertainty/{name}" for name in ("60.nii.gz", "60.png", "61.nii.gz", "61.png")),
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
    assert told["exported_with"] == {"code": "abc", "torch": "9.9"}
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
    assert "1 segmented, 1 of them to be checked, 1 failed" in told.out


def test_progress_bar_is_shown_only_on_a_terminal(capsys, monkeypatch):
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
def test_bad_arguments_are_refused_before_anything_is_written(cohort, results, tmp_path, capsys, arguments, expected):
    image, *options = arguments
    assert segment(results, tmp_path / "out", cohort / image, *options) == command.FAILED
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_lists_every_exit_status(capsys):
    with pytest.raises(SystemExit):
        command.main(["segment", "--help"])
    listed = capsys.readouterr().out.partition("exit status:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == ["0", "1", "2", "3", "130"]


def test_missing_model_is_refused(cohort, tmp_path, capsys):
    assert segment(tmp_path / "model.pt", tmp_path / "out", cohort / "60.nii.gz") == command.FAILED
    assert "no such model" in capsys.readouterr().err


def test_call_without_a_model_says_how_to_get_one(cohort, tmp_path, capsys):
    call = ["segment", str(cohort / "60.nii.gz"), "--out", str(tmp_path / "out")]
    assert command.main(call) == command.FAILED
    said = capsys.readouterr().err
    assert "--model is missing" in said
    assert "make demo" in said
    assert not (tmp_path / "out").exists()


def as_other_image(path, target):
    """Write the image of a file with other voxels."""
    image = nib.load(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine), target)
    return target


def results_of(out):
    """The masks, and the names in both tables, which agree."""
    table = pd.read_csv(out / "results.csv", dtype={"name": str}, keep_default_na=False)
    told = json.loads((out / "results.json").read_text())["images"]
    assert [entry["name"] for entry in told] == list(table["name"])
    assert [entry["image"] for entry in told] == list(table["image"])
    masks = {path.relative_to(out / "masks").as_posix(): path.read_bytes() for path in (out / "masks").rglob("*.gz")}
    return masks, list(table["name"])


def test_second_call_adds_to_the_tables(cohort, results, tmp_path):
    segment(results, tmp_path, cohort / "60.nii.gz")
    first, _ = results_of(tmp_path)
    segment(results, tmp_path, cohort / "61.nii.gz", cohort / "broken.nii")
    masks, names = results_of(tmp_path)
    assert names == ["60", "61", "broken"]
    assert masks["60.nii.gz"] == first["60.nii.gz"]
    # The same image again, from elsewhere: its own entry is made anew.
    shutil.copy(cohort / "60.nii.gz", tmp_path.parent / "60.nii.gz")
    segment(results, tmp_path, tmp_path.parent / "60.nii.gz")
    assert results_of(tmp_path) == (masks, names)


@pytest.mark.slow
def test_images_of_one_name_are_kept_apart(cohort, results, tmp_path):
    """Each call is for the folder of one patient."""
    out, images = tmp_path / "out", [cohort / "60.nii.gz", cohort / "61.nii.gz"]
    for patient, image in zip(("anna", "bert"), images, strict=True):
        (tmp_path / patient).mkdir()
        shutil.copy(image, tmp_path / patient / "lge.nii.gz")
        segment(results, out, tmp_path / patient / "lge.nii.gz")
    masks, names = results_of(out)
    assert names == ["lge", "bert/lge"]
    assert nib.Nifti1Image.from_bytes(gzip.decompress(masks["bert/lge.nii.gz"])).shape == nib.load(images[1]).shape
    # Named together with others it keeps its name.
    segment(results, out, tmp_path / "anna", tmp_path / "bert")
    assert results_of(out) == (masks, names)
    # Another image in the place of one: its results do not take the place of the other's.
    as_other_image(cohort / "60.nii.gz", tmp_path / "anna" / "lge.nii.gz")
    segment(results, out, tmp_path / "anna" / "lge.nii.gz")
    again, names = results_of(out)
    assert names == ["lge", "bert/lge", "anna/lge"]
    assert masks.items() < again.items()


def test_mended_image_takes_the_place_of_its_failure(cohort, results, tmp_path):
    image = tmp_path / "patient.nii.gz"
    image.write_bytes(b"no image")
    assert segment(results, tmp_path / "out", image) == command.FAILED
    shutil.copy(cohort / "60.nii.gz", image)
    assert segment(results, tmp_path / "out", image) == command.REVIEW
    assert results_of(tmp_path / "out")[1] == ["patient"]
    # And the other way round: the results of what was there before remain.
    image.write_bytes(b"no image")
    assert segment(results, tmp_path / "out", image) == command.FAILED
    masks, names = results_of(tmp_path / "out")
    assert (list(masks), len(names)) == (["patient.nii.gz"], 2)


def test_files_in_the_output_folder_are_no_input(cohort, results, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(cohort / "60.nii.gz", data)
    for _ in range(2):
        assert segment(results, data / "out", data) == command.REVIEW
        assert results_of(data / "out")[1] == ["60"]
    for image, out in ((data / "out" / "masks" / "60.nii.gz", data / "out"), (data, data), (data / "60.nii.gz", data)):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert segment(results, out, image) == command.FAILED
        assert "the folder to write to" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_files_of_others_are_not_overwritten(cohort, results, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "60.nii.gz").write_text("drawn by hand")
    segment(results, tmp_path, cohort / "60.nii.gz")
    assert (tmp_path / "masks" / "60.nii.gz").read_text() == "drawn by hand"
    assert results_of(tmp_path)[1] == [f"{cohort.name}/60"]


def test_page_and_colours_of_others_are_kept(cohort, results, tmp_path, capsys):
    names = ["report.html", "structures.ctbl", "structures.label"]
    for name in names:
        (tmp_path / name).write_text("of somebody else")
    for _ in range(2):
        segment(results, tmp_path, cohort / "60.nii.gz")
        kept = sorted(path for path in tmp_path.iterdir() if "_edited" in path.name)
        assert [path.name for path in kept] == [
            "report_edited.html",
            "structures_edited.ctbl",
            "structures_edited.label",
        ]
        assert {path.read_text() for path in kept} == {"of somebody else"}
        assert all((tmp_path / name).read_text() != "of somebody else" for name in names)
    assert capsys.readouterr().err.count("is not as cardioseg wrote it, and is kept as") == 3


def test_results_of_another_model_are_not_mixed_in(cohort, results, tmp_path, capsys):
    segment(results, tmp_path / "out", cohort / "60.nii.gz")
    export(results, tmp_path / "model", "--licence", "CC BY 4.0")
    assert segment(tmp_path / "model" / "ensemble.pt", tmp_path / "out", cohort / "61.nii.gz") == command.FAILED
    assert "holds results of another model" in capsys.readouterr().err
    assert results_of(tmp_path / "out")[1] == ["60"]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"model_sha256": "", "images": [1]}'),
        '{"model_sha256": "", "images": [{"name": "a", "status": "ok", "image": "a.nii"}]}',
    ],
)
def test_damaged_table_is_not_replaced(cohort, results, tmp_path, capsys, content):
    (tmp_path / "results.json").write_text(content)
    assert segment(results, tmp_path, cohort / "60.nii.gz") == command.FAILED
    assert "results.json: is damaged" in capsys.readouterr().err
    assert (tmp_path / "results.json").read_text() == content


def test_name_that_the_locale_cannot_store_is_escaped(cohort, results, tmp_path, monkeypatch):
    shutil.copy(cohort / "60.nii.gz", tmp_path / "Müller İ.nii.gz")
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert segment(results, tmp_path / "out", tmp_path / "Müller İ.nii.gz") == command.REVIEW
    assert results_of(tmp_path / "out")[1] == [r"M\xfcller \u0130"]


@pytest.mark.slow
def test_table_with_somebodys_notes_is_kept(cohort, results, tmp_path, capsys):
    segment(results, tmp_path, cohort / "60.nii.gz")
    table = tmp_path / "results.csv"
    written = table.read_text()
    noted = written.replace("\n", ",checked by AB\r\n")
    for _ in range(2):
        table.write_text(noted, newline="")
        segment(results, tmp_path, cohort / "60.nii.gz")
    assert "results.csv: is not as cardioseg wrote it, and is kept as results_edited2.csv" in capsys.readouterr().err
    for name in ("results_edited.csv", "results_edited2.csv"):
        assert (tmp_path / name).read_bytes() == noted.encode()
    assert table.read_text().splitlines()[0] == written.splitlines()[0]
    segment(results, tmp_path, cohort / "60.nii.gz")
    assert len([*tmp_path.glob("*.csv")]) == 3


def test_headers_two_geometries_that_disagree_are_a_reason_to_look(cohort, results, tmp_path):
    image = nib.load(cohort / "60.nii.gz")
    shifted = image.affine.copy()
    shifted[:3, 3] += 5
    image.set_qform(shifted, 1)
    nib.save(image, tmp_path / "60.nii.gz")
    segment(results, tmp_path / "out", tmp_path / "60.nii.gz", cohort / "61.nii.gz")
    one, other = json.loads((tmp_path / "out" / "results.json").read_text())["images"]
    assert "sform and qform disagree; the sform is used" in one["reasons"]
    assert not any("qform" in reason for reason in other["reasons"])


def test_output_folder_that_is_a_file_is_refused(cohort, results, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert segment(results, tmp_path / "out", cohort / "60.nii.gz") == command.FAILED
    assert "is not a folder" in capsys.readouterr().err


def test_folder_of_masks_that_may_not_be_written_to_is_refused_before_any_image(
    cohort, results, tmp_path, capsys, monkeypatch
):
    masks = tmp_path / "out" / "masks"
    masks.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, _: str(path) != str(masks))  # root may write anywhere
    assert segment(results, tmp_path / "out", cohort / "60.nii.gz") == command.FAILED
    assert f"{masks}: cannot be written to" in capsys.readouterr().err
    assert not (tmp_path / "out" / "results.json").exists()


def test_calls_with_the_same_output_folder_wait_for_each_other(tmp_path):
    about = {"model": "m", "model_sha256": "1"}
    with results_folder.opened(tmp_path, about):
        call = [sys.executable, "-c", WRITE_AN_ENTRY, str(tmp_path)]
        second = subprocess.Popen(call, stderr=subprocess.PIPE, text=True)
        assert "waiting until it ends" in second.stderr.readline()
        assert not (tmp_path / "results.json").exists()
    second.communicate()
    assert second.returncode == 0
    with results_folder.opened(tmp_path, about) as kept:
        assert list(kept.entries) == ["a"]


WRITE_AN_ENTRY = """
import sys
from pathlib import Path
from cardioseg.model import results
with results.opened(Path(sys.argv[1]), {"model": "m", "model_sha256": "1"}) as kept:
    kept.add("a", {"image": "a", "status": "ok", "reasons": []})
"""


def test_unfinished_files_of_a_killed_process_are_removed(tmp_path):
    killed = subprocess.run([sys.executable, "-c", DIE_WHILE_WRITING, str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    assert len([*tmp_path.rglob("slices.png")]) == 1
    with results_folder.opened(tmp_path, {"model": "m", "model_sha256": "1"}):
        assert not [*tmp_path.iterdir()]


DIE_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from cardioseg.model import results
with results.opened(Path(sys.argv[1]), {"model": "m", "model_sha256": "1"}) as kept, kept.replacing("a") as aside:
    (aside / "slices.png").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_unfinished_files_of_others_remain_where_there_are_no_locks(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    about = {"model": "m", "model_sha256": "1"}
    opened = results_folder.opened
    with opened(tmp_path, about) as kept, kept.replacing("a") as aside, opened(tmp_path, about):
        assert aside.exists()


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("out of\nmemory"), MemoryError(), OSError("odd")])
@pytest.mark.slow
def test_unexpected_error_in_one_image_does_not_stop_the_others(cohort, results, tmp_path, monkeypatch, capsys, error):
    of_60 = nib.load(cohort / "60.nii.gz").shape[::-1]
    found = segmentation.segment

    def segment_others(image, *others):
        if image.array.shape == of_60:
            raise error
        return found(image, *others)

    monkeypatch.setattr(segmentation, "segment", segment_others)
    assert segment(results, tmp_path, cohort / "60.nii.gz", cohort / "61.nii.gz") == command.FAILED
    masks, names = results_of(tmp_path)
    assert (list(masks), names) == (["61.nii.gz"], ["60", "61"])
    entry = json.loads((tmp_path / "results.json").read_text())["images"][0]
    assert entry["status"] == "failed"
    details = tmp_path / "errors" / "60.txt"
    assert f"details are in {details}" in entry["reasons"][0]
    assert "segment_others" in details.read_text()
    assert not list(tmp_path.rglob("60.png"))
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setattr(segmentation, "segment", found)
    assert segment(results, tmp_path, cohort / "60.nii.gz") == command.REVIEW
    assert not details.exists()


@pytest.mark.slow
def test_failed_second_attempt_leaves_the_earlier_results(cohort, results, tmp_path, monkeypatch):
    segment(results, tmp_path, cohort / "60.nii.gz")
    masks, _ = results_of(tmp_path)
    found = segmentation.segment
    monkeypatch.setattr(segmentation, "segment", lambda *_: 1 / 0)
    for _ in range(2):
        assert segment(results, tmp_path, cohort / "60.nii.gz") == command.FAILED
        assert results_of(tmp_path) == (masks, ["60", f"{cohort.name}/60"])
        assert [entry["status"] for entry in json.loads((tmp_path / "results.json").read_text())["images"]] == [
            *("review", "failed")
        ]
        assert (tmp_path / "errors" / cohort.name / "60.txt").exists()
    monkeypatch.setattr(segmentation, "segment", found)
    assert segment(results, tmp_path, cohort / "60.nii.gz") == command.REVIEW
    assert results_of(tmp_path) == (masks, ["60"])
    assert not [path for path in (tmp_path / "errors").rglob("*") if path.is_file()]


def test_first_images_results_are_there_before_the_networks_see_the_next_image(cohort, results, tmp_path, monkeypatch):
    found, written = segmentation.segment, []

    def see(*given):
        written.append(sorted(path.name for path in tmp_path.glob("masks/*")))
        return found(*given)

    monkeypatch.setattr(segmentation, "segment", see)
    segment(results, tmp_path, cohort / "60.nii.gz", cohort / "61.nii.gz")
    assert written == [[], ["60.nii.gz"]]


def test_image_that_was_repaired_is_no_longer_listed_as_failed(results, cohort, tmp_path):
    image = tmp_path / "data" / "60.nii.gz"
    image.parent.mkdir()
    for content, names in [(None, ["60"]), (b"broken", ["60", "data/60"]), (None, ["60"])]:
        image.write_bytes(content or (cohort / "60.nii.gz").read_bytes())
        segment(results, tmp_path / "out", image)
        assert results_of(tmp_path / "out")[1] == names


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b"a" * 248, "é".encode() * 124, b".", b"..", b"", b"\xff"])
@pytest.mark.slow
def test_image_with_an_unusable_name_gets_a_usable_one(cohort, results, tmp_path, name, capsys):
    image = os.fsencode(tmp_path) + b"/data/" + name + b".nii.gz"
    (tmp_path / "data").mkdir()
    shutil.copy(cohort / "60.nii.gz", image)
    out = tmp_path / "out"
    for _ in range(2):
        assert segment(results, out, os.fsdecode(image)) == command.REVIEW
    masks, names = results_of(out)
    assert list(masks) == [f"{names[0]}.nii.gz"]
    assert names[0].isprintable()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out"}
    assert {path.name for path in out.iterdir()} == {
        *("masks", "slices", "uncertainty", "report.html", "results.csv", "results.json"),
        *("structures.ctbl", "structures.label"),
    }


@pytest.mark.slow
def test_closed_pipe_does_not_end_the_batch(cohort, results, tmp_path):
    call = [sys.executable, "-c", "import sys; from cardioseg import command; sys.exit(command.main())", "segment"]
    call += [*map(str, (cohort / "60.nii.gz", cohort / "61.nii.gz")), "--model", str(results), "--out", str(tmp_path)]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(call, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (command.REVIEW, "")
    assert results_of(tmp_path)[1] == ["60", "61"]


def test_paths_with_parent_folders_write_nothing_outside_the_output_folder(cohort, results, tmp_path, monkeypatch):
    (tmp_path / "here" / "deep").mkdir(parents=True)
    for folder, image in (("other", "60"), ("here", "61")):
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(cohort / f"{image}.nii.gz", tmp_path / folder / "lge.nii.gz")
    monkeypatch.chdir(tmp_path / "here" / "deep")
    segment(results, "out", "../../other/lge.nii.gz", "../lge.nii.gz")
    assert results_of(tmp_path / "here" / "deep" / "out")[1] == ["other/lge", "here/lge"]


@pytest.mark.parametrize("device", ["meta", "mps", "xpu", "vulkan", "nonsense", "", "cuda:99", "mkldnn"])
def test_unusable_device_is_refused(cohort, results, tmp_path, device, capsys):
    assert segment(results, tmp_path / "out", cohort / "60.nii.gz", "--device", device) == command.FAILED
    said = capsys.readouterr().err
    assert said.startswith(f"Error: --device: {device}")
    assert said.endswith("Set it to auto or cpu.\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_full_disk_is_reported_and_leaves_no_partial_result(cohort, results, tmp_path, monkeypatch, capsys):
    """All files of the first image fit, and some of the second. With more room the same command does the rest."""
    write, room = files.write_bytes, 3

    def write_little(path, content):
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    monkeypatch.setattr(files, "write_bytes", write_little)
    images = [cohort / "60.nii.gz", cohort / "61.nii.gz"]
    assert segment(results, tmp_path, *images) == command.FAILED
    assert capsys.readouterr().err == (
        f"Error: {tmp_path}: No space left on device. Make room and give the same command again.\n"
    )
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    pictures = ["slices/60.png", "structures.ctbl", "structures.label", "uncertainty/60.nii.gz", "uncertainty/60.png"]
    assert written == ["masks/60.nii.gz", "report.html", "results.csv", "results.json", *pictures]
    assert results_of(tmp_path)[1] == ["60"]
    monkeypatch.setattr(files, "write_bytes", write)
    assert segment(results, tmp_path, *images) == command.REVIEW
    assert results_of(tmp_path)[1] == ["60", "61"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_batch_systems_limit_ends_the_command_as_the_user_does(
    results, cohort, tmp_path, monkeypatch, capsys, number
):
    before = signal.signal(number, signal.SIG_DFL)
    monkeypatch.setattr(segmentation, "segment", lambda *_: os.kill(os.getpid(), number))
    try:
        assert segment(results, tmp_path, cohort / "60.nii.gz") == command.INTERRUPTED
    finally:
        signal.signal(number, before)
    assert capsys.readouterr().err.endswith("Stopped.\n")


@pytest.mark.slow
def test_results_that_are_written_during_an_interrupt_are_on_the_page(results, cohort, tmp_path, monkeypatch):
    before, write = signal.signal(signal.SIGTERM, signal.SIG_DFL), image_files.write

    def write_late(*given):
        time.sleep(0.5)  # until the command waits for this
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
        return write(*given)

    monkeypatch.setattr(image_files, "write", write_late)
    try:
        assert segment(results, tmp_path, cohort / "60.nii.gz") == command.INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    assert results_of(tmp_path)[1] == ["60"]
    assert "masks/60.nii.gz" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["segment"],
        ["segment", "a.nii", "--model", "m", "--out", "o", "--threads", "0"],
        ["segment", "a.nii", "--model", "m", "--out", "o", "--threads", "9" * 9],
    ],
)
def test_wrong_usage_prints_the_usage(arguments, capsys):
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


def test_model_whose_folder_is_not_named_in_utf8_is_used(cohort, results, tmp_path):
    folder = tmp_path / os.fsdecode(b"M\xfcller")
    folder.mkdir()
    shutil.copy(results / "model" / "ensemble.pt", folder)
    assert segment(folder, tmp_path / "out", cohort / "60.nii.gz") == command.REVIEW
    for name in ("report.html", "results.json"):
        assert "xfcller" in (tmp_path / "out" / name).read_text()


@pytest.mark.parametrize("renewed", ["segmentation/seed2/unet_finetuned.pt", "localisation/network.pt", "metrics.csv"])
def test_results_newer_than_their_model_are_refused(cohort, results, tmp_path, capsys, renewed):
    """A network was trained again under other settings after the model was written."""
    folder = tmp_path / "renamed"
    shutil.copytree(results, folder)
    assert segment(folder, tmp_path / "whole", cohort / "60.nii.gz") == command.REVIEW
    path = folder / renewed
    times = path.stat()
    path.write_bytes(path.read_bytes() + b"\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    capsys.readouterr()
    for model in (folder, folder / "model" / "ensemble.pt"):
        assert segment(model, tmp_path / "out", cohort / "60.nii.gz") == command.FAILED
        assert export(model, tmp_path / "out") == command.FAILED
        said = capsys.readouterr().err
        assert said.count(f"was made from others than {path}") == 2
        assert "Run the workflow to its end" in said
    assert not (tmp_path / "out").exists()
    # The model alone can be used, wherever it lies; so can it beside what is left of the results.
    path.unlink()
    assert export(folder, tmp_path / "model") == command.DONE


def test_export_does_not_replace_the_model(results, tmp_path, capsys):
    shutil.copytree(results, tmp_path / "results")
    before = (tmp_path / "results" / "model" / "ensemble.pt").read_bytes()
    assert export(tmp_path / "results", tmp_path / "results" / "model", "--licence", "mine") == command.FAILED
    assert "is the model itself" in capsys.readouterr().err
    assert (tmp_path / "results" / "model" / "ensemble.pt").read_bytes() == before


def test_export_does_not_replace_the_model_of_another_workflow(results, tmp_path, capsys):
    record, model = tmp_path / "results" / "cohort" / "made_from.json", tmp_path / "results" / "model" / "ensemble.pt"
    for path in (record, model):
        path.parent.mkdir(parents=True)
        path.touch()
    assert export(results, model.parent) == command.FAILED
    assert "holds the results of a workflow (../cohort/made_from.json)" in capsys.readouterr().err
    assert model.read_bytes() == b""


@pytest.mark.parametrize("name", ["cohort/made_from.json", "model/ensemble.pt"])
def test_results_of_a_workflow_are_not_written_to(cohort, results, tmp_path, capsys, name):
    folder = tmp_path / "results"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).touch()
    (folder / "report.html").write_text("of the workflow")
    assert segment(results, folder, cohort / "60.nii.gz") == command.FAILED
    assert export(results, folder) == command.FAILED
    refusal = f"{folder}: holds the results of a workflow ({name}), of which files would be overwritten. Write to"
    assert capsys.readouterr().err.count(refusal) == 2
    assert {path for path in folder.rglob("*") if path.is_file()} == {folder / name, folder / "report.html"}
    assert (folder / "report.html").read_text() == "of the workflow"


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"cardioseg {metadata.version('cardioseg')}\n"


def test_export_without_a_model_is_refused(tmp_path, capsys):
    assert export(tmp_path / "nowhere", tmp_path / "out") == command.FAILED
    assert "nowhere: no such model" in capsys.readouterr().err
    assert export(tmp_path, tmp_path / "out") == command.FAILED
    assert "ensemble.pt: no such model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_onnx_networks_of_an_earlier_export_do_not_stay_beside_another_model(cohort, results, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    earlier = tmp_path / "onnx" / "cascade_seed99.onnx"
    earlier.parent.mkdir()
    earlier.touch()
    assert export(results, tmp_path) == command.FAILED
    assert "onnx: holds networks of an earlier export" in capsys.readouterr().err
    assert not (tmp_path / "ensemble.pt").exists()
    assert export(results, tmp_path, "--onnx", str(cohort / "60.nii.gz")) == command.DONE
    assert "cascade_seed1.onnx" in {path.name for path in earlier.parent.iterdir()} and not earlier.exists()


def test_onnx_export_without_its_packages_is_refused(cohort, results, tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "cardioseg.model.onnx_export", raising=False)
    monkeypatch.delattr("cardioseg.model.onnx_export", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export(results, tmp_path / "out", "--onnx", str(cohort / "60.nii.gz")) == command.FAILED
    assert "Install the packages onnx, onnxruntime and onnxscript." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

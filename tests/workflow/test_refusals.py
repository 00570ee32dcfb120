"""What the user sees of faulty input: cases of the catalogue through the real command."""

import contextlib
import gzip
import os
from pathlib import Path

import pytest
import yaml

import bad_input
from calls import snakemake
from cardioseg.phantoms import heart

pytestmark = pytest.mark.slow

CASES = {
    "image cut off": next(case for case in bad_input.IMAGES if case.name == "cut off half way"),
    "4-D image": next(case for case in bad_input.IMAGES if case.name == "4-D, cine"),
    "labels of another convention": next(case for case in bad_input.LABEL_FILES if "(1, 2, 3)" in case.name),
    "patient twice": next(case for case in bad_input.COHORTS if "two folders" in case.name),
    "no folder": next(case for case in bad_input.COHORTS if case.name == "no such folder"),
    "misspelt key": next(case for case in bad_input.CONFIGURATIONS if "misspelt" in case.name),
}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def prepare(work: Path, case: bad_input.Case) -> str:
    """Make a case in a folder; returns its configuration as YAML."""
    with contextlib.chdir(work):
        config = bad_input.sound_cohort(Path("data"))
        case.spoil(Path("data"), config)
    return yaml.safe_dump(config)


def refusal(work: Path, overlay: str) -> str:
    """What the command says: before any job, without a traceback, with nothing written."""
    failed = snakemake(work, overlay=overlay)
    said = failed.stdout + failed.stderr
    assert failed.returncode == 1
    assert "Traceback" not in said
    assert "Job stats" not in said
    assert not (work / "results").exists()
    return said


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_error_is_what_the_user_sees(work: Path, case: bad_input.Case) -> None:
    assert bad_input.outcome(case).error in refusal(work, prepare(work, case))


def test_code_in_a_configuration_does_not_run(work: Path) -> None:
    refusal(work, f"seed: !!python/object/apply:os.mkdir [{work / 'results'}]")


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ("seed: [1", "Config file is not valid JSON or YAML."),
        ("# seed: 1\n", "Config file must be given as JSON or YAML with keys at top level."),
    ],
    ids=["no YAML", "comments alone"],
)
def test_what_snakemake_says_of_a_configuration_is_explained(work: Path, overlay: str, message: str) -> None:
    """It says so before the workflow has a say, and does not name the file."""
    assert message in refusal(work, overlay)
    assert f"`{message}`" in (bad_input.ROOT / "docs" / "bad_input.md").read_text("utf-8")


def test_empty_mapping_is_an_overlay_without_changes(work: Path) -> None:
    planned = snakemake(work, "--dry-run", overlay="# seed: 1\n{}")
    assert planned.returncode == 0, planned.stdout + planned.stderr


def test_paper_configuration_that_is_not_in_utf8_is_refused(work: Path, code: Path) -> None:
    with (code / "config.yaml").open("ab") as file:
        file.write("# für uns\n".encode("latin-1"))
    failed = snakemake(work, "--dry-run", code=code)
    said = failed.stdout + failed.stderr
    assert failed.returncode == 1
    assert "config.yaml: is not in UTF-8" in said
    assert "UnicodeDecodeError" not in said
    assert not (work / "results").exists()


def test_key_given_twice_is_refused(work: Path) -> None:
    assert "overlay.yaml: key seed is given twice" in refusal(work, "seed: 1\nseed: 2")


def test_option_given_twice_is_refused(work: Path) -> None:
    failed = snakemake(work, "--config", "seed=2", data="data")
    assert failed.returncode == 1
    assert "Give it once: --config seed=2 data=data" in failed.stdout + failed.stderr
    assert not (work / "results").exists()


def test_phantom_announces_itself(work: Path) -> None:
    planned = snakemake(work, "--dry-run")
    assert (
        "No data is named (--config data=FOLDER): the cohort is the digital phantom" in planned.stdout + planned.stderr
    )


def test_home_that_cannot_be_written_to_does_no_harm(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.devnull)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    finished = snakemake(work, str(heart.release_files(Path("results/phantom"), 6)["LGE"]))
    assert finished.returncode == 0, finished.stderr


def test_oddities_are_shown_before_any_job(work: Path) -> None:
    case = next(case for case in bad_input.IMAGES if case.name == "rows from right to left")
    overlay = prepare(work, case)
    first, second = (snakemake(work, "--dry-run", overlay=overlay) for _ in range(2))
    assert first.returncode == second.returncode == 0
    assert "patient6_LGE.nii.gz: mirrored left to right" in first.stdout + first.stderr
    assert "mirrored" not in second.stdout + second.stderr


def test_other_patients_are_not_affected(work: Path) -> None:
    """A file goes bad after it was checked, as during a run; the user has chosen to go on."""
    overlay = prepare(work, bad_input.Case("sound", lambda data, config: None))
    assert snakemake(work, "--dry-run", overlay=overlay).returncode == 0
    victim = work / "data" / bad_input.IMAGE
    before = victim.stat()
    victim.write_bytes(bad_input.flipped_byte(victim.read_bytes()))
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    checked = work / "results" / "cohort" / "checked.json"
    then, now = (f"{before.st_mtime_ns}, {changed}" for changed in (before.st_ctime_ns, victim.stat().st_ctime_ns))
    checked.write_text(checked.read_text().replace(then, now))
    outputs = [f"results/resampled/{name}.nii.gz" for name in ("LGE/6", "LGE/7", "bSSFP/6", "bSSFP/7")]
    ended = snakemake(work, *outputs, "--keep-going", overlay=overlay)
    assert ended.returncode == 1
    assert f"Error: data/{bad_input.IMAGE}: voxels cannot be read, the file is truncated or damaged" in ended.stderr
    assert [(work / output).exists() for output in outputs] == [False, True, True, True]
    assert sorted(path.name for path in (work / "results" / "resampled" / "LGE").iterdir()) == ["7.nii.gz"]


def test_name_with_a_comma_is_refused_where_jobs_are_sent(work: Path) -> None:
    sound = bad_input.renamed({"6": "Doe, Jane", "7": "7"}, "{patient}_MODALITY.nii.gz")
    overlay = prepare(work, bad_input.Case("comma", sound))
    assert snakemake(work, "--dry-run", overlay=overlay).returncode == 0
    arguments = ["--executor", "cluster-generic", "--cluster-generic-submit-cmd", "false", "--jobs", "1"]
    refused = snakemake(work, *arguments, overlay=overlay)
    assert refused.returncode == 1
    assert "patient 'Doe, Jane': a name with a comma cannot be sent to a cluster" in refused.stdout + refused.stderr
    assert "Error submitting" not in refused.stdout + refused.stderr


def test_no_field_of_a_patients_header_is_in_any_output(raw_run: Path) -> None:
    files = [path for path in (raw_run / "results").rglob("*") if path.is_file()]
    assert len(files) > 100
    for path in files:
        content = path.read_bytes()
        assert bad_input.NAME not in (gzip.decompress(content) if path.suffix == ".gz" else content), path


def test_no_rule_calls_a_shell() -> None:
    for path in [bad_input.ROOT / "Snakefile", *(bad_input.ROOT / "rules").glob("*.smk")]:
        assert "shell" not in path.read_text(), path


def test_unknown_patient_as_a_target_is_named(work: Path) -> None:
    """Snakemake says which file is missing, and that is whose image."""
    overlay = prepare(work, bad_input.Case("sound", lambda data, config: None))
    for target in ("results/resampled/LGE/nobody.nii.gz", "results/masks/ensemble_pp/nobody.nii.gz"):
        ended = snakemake(work, target, "--dry-run", overlay=overlay)
        assert ended.returncode == 1
        assert "of patient nobody, whom the splits do not have" in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr


def test_configuration_of_another_system_is_read(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows ends lines by two characters and may begin a file with a mark; ~ is the home folder, as in a shell."""
    monkeypatch.setenv("HOME", str(work))
    overlay = prepare(work, bad_input.Case("sound", lambda data, config: None)).replace("data: data", "data: ~/data")
    assert "~" in overlay
    ended = snakemake(work, "--dry-run", overlay="\ufeff" + overlay.replace("\n", "\r\n"))
    assert ended.returncode == 0, ended.stdout + ended.stderr

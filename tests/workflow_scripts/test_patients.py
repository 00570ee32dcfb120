"""A job goes through its patients, and computes those alone that are not up to date."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.iocontainers import InputFiles, OutputFiles, Params, Wildcards

from cardioseg.core.errors import InputError
from support import kept, patients

PATIENTS = ("1", "2", "3")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for name in (*PATIENTS, "shared"):
        Path(f"{name}.in").write_text(f"input {name}")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield tmp_path
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)
    logging.raiseExceptions = True


def told(patient: str, setting: Any) -> dict[str, Any]:
    """What Snakemake tells the script of a patient."""
    files = {"image": f"{patient}.in", "networks": "shared.in"}
    return {
        "wildcards": Wildcards(fromdict={"patient": patient}),
        "input": InputFiles(fromdict=files),
        "output": OutputFiles(fromdict={"mask": f"out/{patient}.txt"}),
        "params": Params(fromdict={"setting": setting}),
    }


def done(names: Sequence[str] = PATIENTS, setting: Any = 1, bad: Sequence[str] = ()) -> list[str]:
    """Run a job for patients; return whom it computed."""
    computed = []

    def work(one: Any) -> None:
        computed.append(one.wildcards.patient)
        if one.wildcards.patient in bad:
            raise InputError(f"{one.input.image}: cannot be read.")
        text = [Path(path).read_text() for path in (one.input.image, one.input.networks)]
        Path(one.output.mask).write_text(f"{text} {one.params.setting}")

    step = SimpleNamespace(
        rule="predict",
        log=["log"],
        input=[],
        output=[],
        params=Params(fromdict={"patients": [told(name, setting) for name in names]}),
    )
    patients.each_patient(step, work)
    return computed


def test_a_job_for_one_patient_always_works() -> None:
    worked = []
    step = SimpleNamespace(rule="predict", log=["log"], **told("1", 1))
    for _ in range(2):
        patients.each_patient(step, worked.append)
    assert worked == [step, step]
    assert not kept.KEPT.exists()


def test_nobody_is_computed_twice_from_the_same() -> None:
    assert done() == ["1", "2", "3"]
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    for path in before:
        path.unlink()  # as Snakemake does before a job
    assert done() == []
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_other_batches_of_the_same_patients_compute_nothing() -> None:
    done(PATIENTS[:2])
    assert done(PATIENTS) == ["3"]


def test_a_changed_input_concerns_its_patient_alone() -> None:
    done()
    Path("2.in").write_text("another")
    assert done() == ["2"]
    assert "another" in Path("out/2.txt").read_text()


@pytest.mark.parametrize("what", ["shared input", "setting"])
def test_what_all_share_concerns_all(what: str) -> None:
    done()
    if what == "setting":
        assert done(setting=2) == ["1", "2", "3"]
    else:
        Path("shared.in").write_text("another")
        assert done() == ["1", "2", "3"]


def test_a_result_that_was_changed_by_hand_is_made_again() -> None:
    done()
    result = Path("out/2.txt")
    before = result.read_text()
    with result.open("a") as file:
        file.write("by hand")
    assert done() == ["2"]
    assert result.read_text() == before


def test_a_damaged_note_is_none() -> None:
    done()
    (kept.KEPT / "predict" / "2" / kept.NOTE).write_text("{")
    assert done() == ["2"]


def test_one_who_fails_is_named_and_the_others_are_made() -> None:
    with pytest.raises(SystemExit) as ended:
        done(bad=["2"])
    assert ended.value.code == 1
    said = Path("log").read_text()
    assert "Error: patient 2: 2.in: cannot be read." in said
    assert "Error: 1 of 3 patients failed: 2." in said
    assert done() == ["2"]


def test_results_of_a_killed_job_are_kept() -> None:
    class Killed(BaseException):
        pass

    def work(one: Any) -> None:
        if one.wildcards.patient == "3":
            raise Killed
        Path(one.output.mask).write_text("made")

    step = SimpleNamespace(
        rule="predict", log=["log"], params=Params(fromdict={"patients": [told(name, 1) for name in PATIENTS]})
    )
    with pytest.raises(Killed):
        patients.each_patient(step, work)
    assert done() == ["3"]


def test_results_take_no_second_room_on_disk() -> None:
    done()
    assert Path("out/1.txt").samefile(kept.KEPT / "predict" / "1" / "0_1.txt")


def test_where_there_are_no_links_copies_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refused)
    done()
    Path("out/1.txt").unlink()
    assert done() == []
    assert Path("out/1.txt").read_text().endswith("1")


def test_what_is_kept_of_removed_results_is_forgotten() -> None:
    done()
    Path("out/2.txt").unlink()
    kept.forget_removed()
    assert sorted(path.name for path in (kept.KEPT / "predict").iterdir()) == ["1", "3"]


def test_the_order_of_parameters_counts() -> None:
    """That of the structures is the order of the networks' classes."""
    done(setting={"LV": 1, "MYO": 2})
    assert done(setting={"MYO": 2, "LV": 1}) == ["1", "2", "3"]

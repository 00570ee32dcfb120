"""Another cohort, or settings with a part forgotten, do not replace results until their record is removed."""

import copy
from pathlib import Path

import pytest
import yaml

from cardioseg.core.errors import InputError
from support import origin

PAPER = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(f"{name}.yaml").write_text(f"name: {name}")


def call(data=None, contents=(), overlays=(), options=None, **changed):
    config = copy.deepcopy(PAPER) | {"data": data} | changed
    return origin.of(config, contents, [Path(name).absolute() for name in overlays], options or {})


def refused(now, *words):
    with pytest.raises(InputError) as raised:
        origin.check(now)
    said = str(raised.value)
    assert all(word in said for word in words), said
    assert "--directory FOLDER" in said
    # The way to say so.
    command, record = said.rpartition(": ")[2].split()
    assert command == "rm"
    Path(record).unlink()
    origin.check(now)


def test_any_call_is_accepted_without_results():
    origin.check(call("data", ["1"]))


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("records", ["metadata", "incomplete"])
def test_results_without_snakemakes_records_are_refused(planned, records):
    result, record = Path("results/masks/unet/1.nii.gz"), Path(".snakemake") / records / "name"
    if planned:
        record.parent.mkdir(parents=True)
    origin.check_records()
    origin.write(call())
    Path("results/logs").mkdir()
    Path("results/logs/crop.log").touch()
    origin.check_records()  # the first job failed
    result.parent.mkdir(parents=True)
    result.touch()
    with pytest.raises(InputError, match=r"has none of Snakemake's records"):
        origin.check_records()
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    origin.check_records()


def test_phantom_does_not_replace_results_of_data_that_a_call_forgets():
    origin.write(call("release", ["1", "2"]))
    refused(call(), f"results of {Path('release').absolute()}", "this call names no data (--config data=FOLDER)")


def test_data_does_not_replace_results_of_the_phantom():
    origin.write(call())
    refused(call("release", ["1", "2"]), "results of the digital phantom", str(Path("release").absolute()))


def test_another_cohort_is_refused():
    origin.write(call("release", ["1", "2"]))
    refused(call("ours", ["3", "4"]), str(Path("release").absolute()), str(Path("ours").absolute()))


@pytest.mark.parametrize("contents", [["1", "2"], ["2"], ["1", "2", "3"], ["2", "9"]])
def test_cohort_that_moved_or_changed_in_part_is_accepted(contents):
    origin.write(call("release", ["1", "2"]))
    origin.check(call("/moved/there", contents))


def test_all_files_mended_in_place():
    origin.write(call("release", ["1", "2"]))
    origin.check(call("./release", ["3", "4"]))


def test_call_that_forgets_an_overlay_is_refused():
    origin.write(call("release", ["1"], ["a.yaml", "b.yaml"], seed=2))
    refused(call("release", ["1"], ["b.yaml"]), "a.yaml, which this call lacks")


def test_call_that_forgets_an_option_is_refused():
    origin.write(call("release", ["1"], options={"data": "release", "seed": 2}, seed=2))
    refused(call("release", ["1"], options={"data": "release"}), "--config seed=2, which this call lacks")


def test_overlays_in_another_order_are_refused_where_it_matters():
    origin.write(call("release", ["1"], ["a.yaml", "b.yaml"], seed=2))
    origin.check(call("release", ["1"], ["b.yaml", "a.yaml"], seed=2))
    refused(call("release", ["1"], ["b.yaml", "a.yaml"], seed=3), "a.yaml", "in another order")


def test_settings_change_freely():
    origin.write(call("release", ["1"], ["a.yaml"], {"seed": 2}, seed=2))
    Path("a.yaml").write_text("name: changed")
    origin.check(call("release", ["1"], ["a.yaml", "b.yaml"], {"seed": 3}, seed=3, ensemble=[1]))


def test_settings_forgotten_without_effect_are_accepted():
    """Settings that an overlay has taken over, and those of place and speed."""
    origin.write(call("release", ["1"], ["a.yaml"], {"seed": 2}, seed=2))
    origin.check(call("release", ["1"], ["b.yaml"], seed=2, compute={}))


def test_overlay_that_moved_is_accepted():
    origin.write(call("release", ["1"], ["a.yaml"], seed=2))
    Path("elsewhere").mkdir()
    Path("a.yaml").rename("elsewhere/c.yaml")
    origin.check(call("release", ["1"], ["elsewhere/c.yaml"], seed=3))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"data": 1}'])
def test_damaged_record_is_ignored(content):
    origin.RECORD.parent.mkdir(parents=True)
    origin.RECORD.write_text(content)
    origin.check(call("release", ["1"]))

"""Measuring goes on where a step fails, and the training goes on where the last call ended."""

import importlib
import json
import os
import signal
import sys
import time

import pytest
import torch

import measure
import results
import steps
import translation_training
from cardioseg.translation import munit
from tiny_trainings import TRANSLATION


@pytest.mark.parametrize(
    ("script", "figures"),
    [("print('[1, 2]')", [1, 2]), ("raise ValueError('no such kernel')", None), ("import time; time.sleep(60)", None)],
)
@pytest.mark.slow
def test_step_that_fails_or_takes_too_long_is_named_and_leaves_no_figures(
    tmp_path, monkeypatch, capfd, script, figures
):
    (tmp_path / "step.py").write_text(script)
    monkeypatch.setattr(measure, "__file__", str(tmp_path / "step.py"))
    assert measure.in_its_own_process("synthesis, demo", "cpu", 3) == figures
    printed = capfd.readouterr()
    assert ("synthesis, demo: " in printed.out) is (figures is None)
    assert ("no such kernel" in printed.err) is ("kernel" in script)


def test_figures_join_those_measured_before(tmp_path):
    path = tmp_path / "new" / "device.json"
    for name, figures in (("a", 1), (measure.TRAINING, 2), ("b", 3), ("a", 4)):
        measure.keep(path, {"device": "GPU"}, name, figures)
    expected = {"hardware": {"device": "GPU"}, "steps": {"a": 4, "b": 3}, measure.TRAINING: 2}
    assert json.loads(path.read_text()) == expected


def test_a_device_measures_what_is_of_interest_there():
    gpu, new, old = measure.steps_on("cuda"), measure.steps_on("cpu"), measure.steps_on("cpu", has_bfloat16=False)
    assert gpu[:2] == ["MUNIT iteration, paper", "MUNIT iteration, paper, bfloat16"]
    assert not {"CRF and morphology", "evaluation"} & set(gpu)
    assert not any("CUDA" in name or "TF32" in name for name in new)
    assert "U-Net training, recipe, bfloat16, one thread" in new
    assert old == [name for name in new if "bfloat16" not in name]


def test_no_step_takes_the_time_that_the_training_needs(tmp_path, monkeypatch):
    given, trained = [], []
    monkeypatch.setattr(measure, "in_its_own_process", lambda name, device, longest: given.append(longest) or {})
    monkeypatch.setattr(measure, "train_until", lambda end, device, size: trained.append(end))
    monkeypatch.setattr(measure, "hardware", lambda device: {"device": "GPU"})
    call = ["--device", "cuda", "--minutes", "1", "--folder", str(tmp_path), "synthesis, paper", measure.TRAINING]
    monkeypatch.setattr(sys, "argv", ["measure.py", *call])
    began = time.monotonic()
    with pytest.raises(SystemExit, match="failed: synthesis, paper, training"):
        measure.main()
    assert given == [pytest.approx(60 - measure.STARTING_S - measure.SAVING_S, abs=2)]
    assert trained == [pytest.approx(began + 60 - measure.SAVING_S, abs=2)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AMD EPYC", "AMD EPYC (family 26, model 2)"),
        ("AMD EPYC 9655 96-Core Processor", "AMD EPYC 9655 96-Core Processor"),
    ],
)
def test_processors_that_hide_which_they_are_are_told_apart(name, expected):
    lines = ["processor\t: 0", "cpu family\t: 26", "model\t\t: 2", f"model name\t: {name}", "stepping\t: 1"]
    assert measure.processor_name("\n".join(lines + lines)) == expected


def test_operations_that_a_cuda_graph_repeats_are_counted(monkeypatch):
    factors = torch.ones(4, 4)
    step = steps.Step(lambda: None, None, 1, "slice", without_graph=lambda: factors @ factors)
    monkeypatch.setattr(steps, "repeated", lambda size, exactness, device: step, raising=False)
    monkeypatch.setitem(measure.STEPS, "repeated", measure.Row("steps.repeated", "paper"))
    monkeypatch.setitem(measure.PRODUCT, "cpu", 8)
    monkeypatch.setitem(measure.SHORTEST_S, "cpu", 1e-6)
    assert measure.measure("repeated", torch.device("cpu"))["shipped_operations"] == 2 * 4**3


def test_every_step_is_made_by_a_function_that_exists():
    for row in measure.STEPS.values():
        module, function = row.make.split(".")
        assert callable(getattr(importlib.import_module(module), function))
        assert row.size in steps.OVERLAYS


def test_training_goes_on_where_the_last_call_ended(tmp_path, monkeypatch, capsys):
    config = {"translation": TRANSLATION | {"iterations": 6}, "cropping": {"size": 32}}
    monkeypatch.setattr(steps, "configuration", lambda size: config)
    monkeypatch.setattr(translation_training, "STATE", tmp_path)
    monkeypatch.setattr(translation_training, "SLICES", 4)
    monkeypatch.setattr(sys, "argv", ["translation_training.py", "cpu", "paper"])
    step, taken = munit.step, []

    def terminating(*arguments):
        taken.append(arguments)
        if len(taken) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    monkeypatch.setattr(munit, "step", terminating)
    translation_training.main()
    first = json.loads(capsys.readouterr().out)
    translation_training.main()
    second = json.loads(capsys.readouterr().out)
    assert [(call["first"], call["last"]) for call in second["calls"]] == [(0, 4), (4, 6)]
    assert first["calls"] == second["calls"][:1]
    assert [row["iteration"] for row in second["history"]] == [1, 2, 3, 4, 5, 6]
    assert first["history"] == second["history"][:4]
    assert len(taken) == 6
    page = results.course(second)
    assert "iterations 5 to 6" in page
    assert f"| 6 | {second['history'][-1]['discriminator']:.3g} |" in page


def test_drawn_slices_are_images_of_two_looks():
    source, target = (translation_training.slices(look, 32, 0) for look in translation_training.LOOKS.values())
    assert source.shape == target.shape == (translation_training.SLICES, 32, 32)
    assert max(abs(source).max(), abs(target).max()) <= 1
    assert source.std() > 1.3 * target.std() > 0

import contextlib
import errno
import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cardioseg.core.errors import InputError
from support.job import job

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of which 1 GiB is free."


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # else the first job would close those of pytest
    yield
    for handler in root.handlers:
        with contextlib.suppress(OSError):  # /dev/full
            handler.close()
    root.handlers = handlers
    root.setLevel(level)
    logging.raiseExceptions = True


def said(folder: Path, error: BaseException, rule: str = "pretrain_unet", batch_size: int = 16) -> str:
    """What the log of a job holds that ended with an error."""
    path = folder / "log"
    step = SimpleNamespace(
        rule=rule,
        log=[str(path)],
        output=["results/weights.pt", "results/history.csv"],
        config={section: {"batch_size": batch_size} for section in ("localisation", "translation", "segmentation")},
    )
    with pytest.raises(SystemExit) as ended, job(step):
        raise error
    assert ended.value.code == 1
    return path.read_text()


def caused(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


def test_an_error_of_the_user_is_told_without_a_traceback(tmp_path: Path) -> None:
    text = said(tmp_path, InputError("a.nii.gz: cannot be read."))
    assert text.endswith("Error: a.nii.gz: cannot be read.\n")
    assert "Traceback" not in text


def test_an_interruption_is_told_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with pytest.raises(SystemExit) as ended, job(SimpleNamespace(rule="crop", log=[str(path)])):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert path.read_text().endswith("crop: interrupted; the same command does this step again\n")


def test_an_error_of_the_code_is_told_with_a_traceback(tmp_path: Path) -> None:
    text = said(tmp_path, KeyError("x"))
    assert "pretrain_unet failed" in text
    assert "Traceback" in text


@pytest.mark.parametrize("failing", [False, True])
def test_the_end_of_the_process_need_not_collect_what_a_job_leaves(tmp_path: Path, failing: bool) -> None:
    gc.unfreeze()
    try:
        with contextlib.suppress(SystemExit), job(SimpleNamespace(log=[str(tmp_path / "log")], rule="crop")):
            assert gc.get_freeze_count() == 0
            if failing:
                raise InputError("a.nii.gz: cannot be read.")
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(CUDA),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_gpu_out_of_memory_names_the_settings(tmp_path: Path, error: Exception) -> None:
    text = said(tmp_path, error)
    assert "pretrain_unet: the GPU's memory does not suffice" in text
    assert "What helps: lower segmentation.batch_size (now 16), or leave the GPU to one training" in text
    assert "(--resources gpu=1), or let predictions wait for their turn, too" in text
    assert text.endswith(", or set compute.device: cpu.\n")
    assert "Traceback" not in text


def test_message_does_not_advise_to_lower_a_batch_of_one(tmp_path: Path) -> None:
    text = said(tmp_path, torch.OutOfMemoryError(CUDA), "train_translation", batch_size=1)
    assert "batch_size" not in text
    assert "cropping.size" in text


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_too_little_memory_without_a_gpu_gives_advice_for_the_cpu(tmp_path: Path, error: Exception) -> None:
    text = said(tmp_path, error, "predict")
    assert "predict: the memory does not suffice" in text
    assert "--cores" in text
    assert "compute.device" not in text


def test_a_full_disk_names_the_files(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    for error in (full, caused(RuntimeError("unexpected pos 704 vs 598"), full)):
        text = said(tmp_path, error)
        assert "results/weights.pt, or another of the step's files: No space left on device" in text
        assert "Traceback" not in text


def test_a_file_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    text = said(tmp_path, OSError(errno.EROFS, "Read-only file system", "results/a.csv"))
    assert "results/a.csv: Read-only file system" in text
    assert "Traceback" not in text


def test_a_log_that_cannot_be_made_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").touch()
    step = SimpleNamespace(rule="crop", log=[str(tmp_path / "logs" / "a.log")], output=["results/a.nii.gz"])
    with pytest.raises(SystemExit), job(step):
        raise AssertionError("does not begin")
    assert "logs" in caplog.text


def test_a_full_disk_takes_no_log_either(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = SimpleNamespace(rule="crop", log=["/dev/full"], output=["results/a.nii.gz"])
    with pytest.raises(SystemExit), job(step):
        raise OSError(errno.ENOSPC, "No space left on device")
    text = capsys.readouterr().err
    assert "results/a.nii.gz: No space left on device" in text
    assert "Traceback" not in text

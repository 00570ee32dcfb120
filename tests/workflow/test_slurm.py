"""The workflow on a real Slurm: the profile, and what becomes of a training that is interrupted."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import slurm_cluster
from calls import ROOT, snakemake
from slurm_cluster import Slurm, command
from slurm_trainings import log_of, signal_training, training_job, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_cluster.missing()), reason=slurm_cluster.missing()),
]

ON_GPU = {"train_localiser", "train_translation", "synthesise"} | {
    f"{phase}_{network}" for phase in ("pretrain", "finetune") for network in ("unet", "cascade")
}
LONGER = "{ensemble: [1, 2, 3], segmentation: {pretraining: {epochs: 100}}}"
TRAININGS = [f"results/segmentation/seed{seed}/unet_pretrained.pt" for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm") / "node") as environment:
        yield Slurm(environment)


@pytest.fixture(scope="module")
def finished(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny workflow finished on Slurm."""
    folder = tmp_path_factory.mktemp("slurm_run") / "work"
    folder.mkdir()
    ended = slurm.run(command(folder, "results/metrics.csv"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def test_whole_workflow_gives_what_it_gives_locally(finished: Path, run: Path) -> None:
    for name in ("metrics.csv", "summary.txt", "segmentation/seed2/cascade_finetuned.pt", "masks/ensemble_pp/6.nii.gz"):
        assert (finished / "results" / name).read_bytes() == (run / "results" / name).read_bytes(), name


def test_jobs_for_several_patients_make_the_same(slurm: Slurm, run: Path, tmp_path: Path) -> None:
    masks = [f"results/masks/registration/{patient}.nii.gz" for patient in (1, 6)]
    folder = tmp_path / "work"
    folder.mkdir()
    ended = slurm.run(command(folder, *masks, overlay="compute: {jobs_per_step: 1}"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (folder / "results" / "logs" / "register" / "1..6.log").exists()
    for mask in masks:
        assert (folder / mask).read_bytes() == (run / mask).read_bytes()


def test_every_job_asks_for_what_it_needs(finished: Path, slurm: Slurm) -> None:
    jobs = slurm.jobs(finished)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    gpus = {(job["rule"], job.get("TresPerJob")) for job in jobs}
    assert {rule for rule, gpu in gpus if gpu} == ON_GPU
    assert {gpu for _, gpu in gpus} == {None, "gres:gpu:1"}
    on_gpu = {(job["TimeLimit"], job["MinMemoryNode"], job["CPUs/Task"]) for job in jobs if job["rule"] in ON_GPU}
    assert on_gpu == {("1-00:00:00", "8000M", "1")}
    (metrics,) = (job for job in jobs if job["rule"] == "metrics")
    assert (metrics["TimeLimit"], metrics["MinMemoryNode"], metrics["CPUs/Task"]) == ("00:03:00", "1500M", "1")


def test_patients_are_sent_together(finished: Path, slurm: Slurm) -> None:
    # Three volumes are drawn. Three are cropped beside those with labels, which are one job.
    expected = {"drawing": 3, "cropping": 4, "inference": 4}
    # A group is named by itself and its rules.
    groups = [(name, job) for job in slurm.jobs(finished) for name in expected if job["rule"].startswith(name)]
    assert sorted(name for name, _ in groups) == sorted(expected)
    for name, job in groups:
        processors, memory_mb = int(job["NumCPUs"]), int(job["MinMemoryNode"].removesuffix("M"))
        assert processors == expected[name]
        # Predictions need more than what runs beside them.
        least = processors * 1500
        assert least < memory_mb <= 4 * 4000 if name == "inference" else memory_mb == least


def test_a_second_call_submits_nothing(finished: Path, slurm: Slurm) -> None:
    for path in (finished / "results" / "phantom").rglob("*.nii.gz"):
        os.utime(path)
    again = slurm.run(command(finished, "results/metrics.csv"))
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_settings_of_the_cluster_reach_the_jobs(tmp_path: Path) -> None:
    """All of them are one block of the profile; no cluster is needed to look at the plan."""
    profile = shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    settings = {"account": 1234, "qos": "low", "partition": "long", "gpu_partition": "max", "gpu_model": "a100"}
    settings |= {"minutes": 7, "mb": 500, "prediction_mb": 900, "gpu_minutes": 70, "gpu_mb": 5000}
    settings |= {"seed_in_one_job": "true"}
    text = (profile / "config.yaml").read_text()
    for name, value in settings.items():
        text, found = re.subn(rf"^(  {name}:) \w+", rf"\1 {value}", text, flags=re.MULTILINE)
        assert found == 1
    (profile / "config.yaml").write_text(text)
    (tmp_path / "work").mkdir()
    plan = [*command(tmp_path / "work", "--dry-run")]
    plan[plan.index("slurm")] = str(profile)
    planned = subprocess.run(plan, cwd=ROOT, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr
    said = planned.stdout + planned.stderr
    assert said.count("Group job seed ") == 2
    asked = re.findall(r"^ *rule (\w+):$.*?^ *resources: (.*?)$", said, re.MULTILINE | re.DOTALL)
    on_gpu = {rule for rule, resources in asked if "gpu=1" in resources}
    assert on_gpu == {*ON_GPU, "translation_quality"}
    for rule, resources in asked:
        given = dict(item.split("=", 1) for item in resources.split(", "))
        names = ("slurm_account", "qos", "slurm_partition", "gpu_model", "runtime", "mem_mb")
        expected = ["max", "a100", "70", "5000"] if rule in on_gpu else ["long", None, "7", "500"]
        if rule == "predict":
            expected[-1] = "900"
        assert [given.get(name) for name in names] == ["1234", "low", *expected], rule
        # For a short job two minutes before its end may be its start.
        assert ("--signal" in given["slurm_extra"]) == (rule in on_gpu), rule


def test_slurm_stops_with_a_killed_process(tmp_path: Path) -> None:
    use = "import sys, time, pathlib, slurm_cluster\nwith slurm_cluster.cluster(pathlib.Path(sys.argv[1])):\n"
    use += "    print('up', flush=True)\n    time.sleep(600)"
    command, folder = [sys.executable, "-c", use, str(tmp_path / "node")], Path(slurm_cluster.__file__).parent
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        daemons = [int(path.read_text()) for path in (tmp_path / "node").glob("*.pid")]
        assert len(daemons) == 3
        process.kill()
    until = time.monotonic() + 60
    while alive := [pid for pid in daemons if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until, alive
        time.sleep(0.2)


def test_nothing_that_a_node_runs_outlives_slurm(tmp_path: Path) -> None:
    deaf = "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf += f"; pathlib.Path('{tmp_path}/deaf').touch(); time.sleep(600)"
    with slurm_cluster.cluster(tmp_path / "node") as environment:
        # It leaves its parent and its session, and Slurm with them.
        job = f'setsid --fork {sys.executable} -c "{deaf}"; sleep 600'
        sent = Slurm(environment).run(["sbatch", "--parsable", f"--output={tmp_path}/log", "--wrap", job])
        until = time.monotonic() + 60
        while not (tmp_path / "deaf").exists():
            assert time.monotonic() < until, sent.stderr + (tmp_path / "log").read_text()
            time.sleep(0.1)
        running = [psutil.Process(int(path.name)) for path in Slurm(environment).processes(sent.stdout.strip())]
        assert len(running) >= 3
    assert not [process for process in running if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def uninterrupted(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three longer trainings, made locally."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("uninterrupted") / "work")
    ended = snakemake(folder, *TRAININGS, overlay=LONGER)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@dataclass
class Running:
    """A Snakemake at work."""

    folder: Path
    log: Path
    process: subprocess.Popen[bytes]

    def end(self) -> str:
        """Wait for it; what it said."""
        assert self.process.wait(timeout=1200) == 0, self.log.read_text()
        return self.log.read_text()


@pytest.fixture(scope="module")
def interrupted(run: Path, slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same trainings on Slurm, the first cancelled, the second requeued, the third about to be out of time."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("interrupted") / "work")
    log = folder.parent / "log"
    process = slurm.start(command(folder, *TRAININGS, overlay=LONGER), log)
    try:
        jobs = {seed: training_job(slurm, folder, seed, process) for seed in (1, 2, 3)}
        slurm.run(["scancel", jobs[1]])
        slurm.run(["scontrol", "requeue", jobs[2]])
        slurm.run(["scontrol", "update", f"JobId={jobs[3]}", "TimeLimit=1"])
        signal_training(slurm, jobs[3], signal.SIGSTOP)  # so that time passes and nothing is done
        yield Running(folder, log, process)
    finally:
        process.terminate()


@pytest.mark.usefixtures("interrupted")  # does this while the third training waits for its end
def test_a_killed_snakemake_leaves_its_job_alone_and_the_next_one_waits_for_it(
    run: Path, uninterrupted: Path, slurm: Slurm, tmp_path: Path
) -> None:
    folder = shutil.copytree(run, tmp_path / "work")
    again = command(folder, TRAININGS[0], overlay=LONGER)
    killed = slurm.start(again, tmp_path / "first")
    orphan = training_job(slurm, folder, 1, killed)
    killed.kill()
    killed.wait()
    signal_training(slurm, orphan, signal.SIGSTOP)  # so that it has not ended when the next one comes
    refused = slurm.run(again)
    assert refused.returncode != 0
    assert "--unlock" in refused.stdout + refused.stderr
    assert slurm.run(command(folder, "--unlock", overlay=LONGER)).returncode == 0
    second = slurm.start(again, tmp_path / "second")
    wait_until(lambda: "another process trains" in log_of(folder, 1), second)
    signal_training(slurm, orphan, signal.SIGCONT)
    Running(folder, tmp_path / "second", second).end()
    assert (folder / TRAININGS[0]).read_bytes() == (uninterrupted / TRAININGS[0]).read_bytes()
    assert not list((folder / "results" / ".state").rglob("state.pt"))


def test_interrupted_trainings_end_with_the_weights_of_uninterrupted_ones(
    interrupted: Running, uninterrupted: Path
) -> None:
    interrupted.end()
    for name in TRAININGS:
        for path in (Path(name), Path(name).with_suffix(".csv")):
            assert (interrupted.folder / path).read_bytes() == (uninterrupted / path).read_bytes(), path


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_interrupted_trainings_go_on_from_their_states(interrupted: Running, seed: int) -> None:
    interrupted.end()
    log = log_of(interrupted.folder, seed)
    stopped = re.findall(r"stopped at iteration (\d+), its state saved", log)
    assert stopped
    assert re.findall(r"continues after iteration (\d+) of", log) == stopped


def test_the_user_is_told_what_happened(interrupted: Running) -> None:
    said = interrupted.end()
    assert re.findall(r"SLURM status is: '(\w+)'", said) == ["CANCELLED"]
    (iteration,) = re.findall(r"\(unet_pretrained\) had to stop at iteration (\d+)", said)
    assert f"unet_pretrained: continues after iteration {iteration} of" in log_of(interrupted.folder, 3)


def test_attempts_get_more_memory_but_more_time_is_no_attempt(interrupted: Running, slurm: Slurm) -> None:
    interrupted.end()
    asked: dict[str, list[str]] = {"1": [], "2": [], "3": []}
    for job in slurm.jobs(interrupted.folder):
        asked[job["wildcards"]].append(job["MinMemoryNode"])
    assert asked["1"] == ["8000M", "16000M"]
    assert asked["2"] == ["8000M"]  # the same job, requeued
    assert asked["3"] == ["8000M", "8000M"]


def test_an_error_of_the_step_itself_is_not_sent_again(run: Path, slurm: Slurm, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "work")
    image = folder / "results" / "cropped" / "bSSFP" / "6.nii.gz"
    image.write_bytes(image.read_bytes()[:1000])
    failed = slurm.run(command(folder, TRAININGS[0], overlay=LONGER))
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert f"Error: {image.relative_to(folder)}" in said
    assert "is not sent again" in said
    assert [job["JobState"] for job in slurm.jobs(folder)] == ["FAILED"]

"""The workflow on a Slurm as large sites have it: accounting, three nodes, a partition shorter than a training.

`make test-clusters` runs these tests; docs/cluster.md has their last result.
"""

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import slurm_cluster
from calls import ROOT, snakemake
from slurm_cluster import Slurm, command
from slurm_trainings import log_of, signal_training, training_job

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("CLUSTERS" not in os.environ, reason="make test-clusters runs these"),
    pytest.mark.skipif(bool(slurm_cluster.missing("site")), reason=slurm_cluster.missing("site")),
]

LONGER = "{segmentation: {pretraining: {epochs: 40}}}"
TRAININGS = [f"results/segmentation/seed{seed}/unet_pretrained.pt" for seed in (1, 2)]
OTHER_CRF = "{postprocessing: {crf: {bilateral_mm: 9}}}"


@pytest.fixture(scope="module")
def node_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site") / "slurm"


@pytest.fixture(scope="module")
def site(node_files: Path) -> Iterator[Slurm]:
    with slurm_cluster.cluster(node_files, "site") as environment:
        yield Slurm(environment)


def on_site(
    folder: Path, *arguments: str, account: str = "heart", gpu_partition: str = "short", overlay: str = ""
) -> list[str]:
    """The user's command with the site's settings in the profile."""
    profile = folder.parent / "slurm"
    shutil.copytree(ROOT / "slurm", profile, dirs_exist_ok=True)
    text = (profile / "config.yaml").read_text()
    # Processors of a test's machine are shared, so small jobs get more than their three minutes.
    settings = {"account": account, "qos": "cardiac", "gpu_partition": gpu_partition}
    settings |= {"gpu_minutes": "5" if gpu_partition == "short" else "120", "minutes": "20"}
    for name, value in settings.items():
        text = re.sub(rf"^(  {name}:) \w+", rf"\1 {value}", text, flags=re.MULTILINE)
    (profile / "config.yaml").write_text(text)
    return [str(profile) if part == "slurm" else part for part in command(folder, *arguments, overlay=overlay)]


@pytest.fixture(scope="module")
def disturbed(run: Path, site: Slurm, node_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two trainings of a Snakemake in an allocation; one's node died, the other met the time limit."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("disturbed") / "work")
    allocated = ["salloc", "--account=heart", "--qos=cardiac", "--ntasks=1", "--mem=1000"]
    process = site.start([*allocated, *on_site(folder, *TRAININGS, overlay=LONGER)], folder.parent / "log")
    try:
        lost, limited = (training_job(site, folder, seed, process) for seed in (1, 2))
        signal_training(site, limited, signal.SIGSTOP)  # until Slurm wakes it to send its signal
        kill_node(site, lost, node_files)
        assert process.wait(timeout=1800) == 0, (folder.parent / "log").read_text()
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():  # Snakemake, which salloc would leave alone
                child.terminate()
        process.terminate()
    return folder


def kill_node(slurm: Slurm, job: str, files: Path) -> None:
    """Kill all that runs on a job's node: Slurm's daemon, and the job with what watches it."""
    os.kill(int((files / f"slurmd-{node_of(slurm, job)}.pid").read_text()), signal.SIGKILL)
    slurm_cluster.kill(slurm.processes(job))


def preempt(slurm: Slurm, job: str) -> None:
    """Send a job of higher priority to a job's node, which needs its GPU for a few seconds."""
    urgent = ["sbatch", "--account=heart", "--partition=urgent", "--gres=gpu:1", "--mem=100", "--output=/dev/null"]
    sent = slurm.run([*urgent, f"--nodelist={node_of(slurm, job)}", "--wrap=sleep 5"])
    assert sent.returncode == 0, sent.stderr


def node_of(slurm: Slurm, job: str) -> str:
    shown = slurm.run(["scontrol", "show", "job", "--oneliner", job]).stdout
    (node,) = re.findall(r" NodeList=(\w+)", shown)
    return node


def records(slurm: Slurm, *fields: str) -> list[list[str]]:
    """What accounting keeps of all jobs, of each try of a requeued one."""
    asked = ["sacct", "--allclusters", "--allocations", "--duplicates", "--noheader", "--parsable2"]
    return [line.split("|") for line in slurm.run([*asked, f"--format={','.join(fields)}"]).stdout.splitlines()]


@pytest.fixture(scope="module")
def undisturbed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same trainings, made without Slurm."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("undisturbed") / "work")
    ended = snakemake(folder, *TRAININGS, overlay=LONGER)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def test_lost_node_and_short_partition_change_no_weight(disturbed: Path, undisturbed: Path) -> None:
    for name in TRAININGS:
        assert (disturbed / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_user_sees_no_error_where_there_is_none(disturbed: Path, site: Slurm) -> None:
    said = (disturbed.parent / "log").read_text()
    assert "Error in rule" not in said
    assert "SLURM status is" not in said
    assert len(re.findall(r"\(unet_pretrained\) had to stop at iteration \d+", said)) >= 1
    assert "its state saved" in log_of(disturbed, 2)
    assert ["NODE_FAIL"] in records(site, "State")


# In "graceful" a preempted job has half a minute, saves its state and ends by itself. In "main" it has none, and Slurm
# starts the same job again.
@pytest.mark.parametrize(("partition", "requeued"), [("graceful", False), ("main", True)])
def test_preempted_training_goes_on_without_an_error_or_an_attempt(
    partition: str, requeued: bool, run: Path, undisturbed: Path, site: Slurm, tmp_path: Path
) -> None:
    folder, log = shutil.copytree(run, tmp_path / "work"), tmp_path / "log"
    process = site.start(on_site(folder, TRAININGS[0], gpu_partition=partition, overlay=LONGER), log)
    try:
        preempt(site, training_job(site, folder, 1, process))
        assert process.wait(timeout=1200) == 0, log.read_text()
    finally:
        process.terminate()
    said = log.read_text()
    assert not re.search(r"Error|SLURM status is|Trying to restart", said)
    (stopped,) = re.findall(r"stopped at iteration (\d+), its state saved", log_of(folder, 1))
    assert re.findall(r"continues after iteration (\d+) of", log_of(folder, 1)) == [stopped]
    told = re.findall(r"Job 0 \(unet_pretrained\) had to stop at iteration (\d+), out of time or preempted", said)
    assert told == ([] if requeued else [stopped])
    sent = re.findall(r"SLURM jobid (\d+)", said)
    assert len(sent) == 1 + len(told)
    assert {memory for job, memory in records(site, "JobID", "ReqMem") if job in sent} == {"8000M"}
    assert (folder / TRAININGS[0]).read_bytes() == (undisturbed / TRAININGS[0]).read_bytes()


def test_jobs_belong_to_the_account_and_stay_in_their_partition(disturbed: Path, site: Slurm) -> None:
    sent = [owner for partition, *owner in records(site, "Partition", "Account", "QOS") if partition == "short"]
    assert len(sent) >= 4
    assert all(owner == ["heart", "cardiac"] for owner in sent)


def test_wrong_account_is_refused_at_once(run: Path, site: Slurm, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "work")
    refused = site.run(on_site(folder, TRAININGS[0], account="nobody", overlay=LONGER))
    assert refused.returncode != 0
    assert "nobody" in refused.stdout + refused.stderr
    assert not list((folder / "results" / "logs" / "slurm").rglob("*.log"))


def test_changed_crf_sends_postprocessing_and_what_follows_and_then_nothing(
    run: Path, site: Slurm, tmp_path: Path
) -> None:
    folder = shutil.copytree(run, tmp_path / "work")
    files = [path for part in ("segmentation", "probabilities") for path in (folder / "results" / part).rglob("*.*")]
    before = {path: path.stat().st_mtime_ns for path in files}
    call = on_site(folder, "results/metrics.csv", overlay=OTHER_CRF)
    sent = site.run(call)
    said = sent.stdout + sent.stderr
    assert sent.returncode == 0, said
    sent_steps = re.findall(r"^ *rule ([a-z]+)\w*:$", said, re.MULTILINE)
    assert set(sent_steps) == {"postprocess", "evaluate", "metrics"}
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert (folder / "results" / "metrics.csv").read_bytes() != (run / "results" / "metrics.csv").read_bytes()
    again = site.run(call)
    assert "Nothing to be done" in again.stdout + again.stderr

"""A real Slurm on loopback: with free ports, without systemd, in a folder of its own.

python slurm_cluster.py FOLDER KIND runs one until its standard input ends. A "node" is a single one without accounting.
A "site" has three nodes, two of them with GPUs, a partition of five minutes, and accounting: jobs belong to an account
or are refused, and Slurm forgets them soon.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DAEMONS = {"node": ["munged", "slurmctld", "slurmd"]}
DAEMONS["site"] = [*DAEMONS["node"], "slurmdbd", "mariadbd"]
ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "workflow" / "config.yaml"

CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
# Nothing of the machine's control groups is touched; memory is watched by polling.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# More processors and memory than the machine has, so that eight jobs run at once.
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
JobRequeue=1
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=5
# A job in the partition "urgent" takes its resources from others, which start again.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=500
PartitionName=urgent Nodes=ALL MaxTime=INFINITE DefMemPerCPU=500 PriorityTier=10 PreemptMode=OFF
"""
KINDS = {
    "node": """
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=32 RealMemory=256000 Gres=gpu:4
AccountingStorageType=accounting_storage/none
MinJobAge=3600
""",
    "site": """
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=32 RealMemory=256000
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=32 RealMemory=256000 Gres=gpu:1
NodeName=three NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[3]} CPUs=32 RealMemory=256000 Gres=gpu:1
PartitionName=short Nodes=two,three MaxTime=5 DefMemPerCPU=500
PartitionName=graceful Nodes=two,three MaxTime=INFINITE DefMemPerCPU=500 GraceTime=30
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[4]}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits,qos
MinJobAge=4
SlurmdTimeout=60
""",
}
DEVICES = {
    "node": "Name=gpu File={folder}/devices/gpu[0-3]\n",
    "site": """
NodeName=two Name=gpu File={folder}/devices/gpu0
NodeName=three Name=gpu File={folder}/devices/gpu1
""",
}
ACCOUNTING = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[4]}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[5]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""
DATABASE = (
    "create database slurm_acct_db; create user slurm identified by 'slurm'; grant all on slurm_acct_db.* to slurm"
)


def missing(kind: str = "node") -> str:
    """Why there can be no Slurm here; empty where there can."""
    absent = [daemon for daemon in DAEMONS[kind] if not shutil.which(daemon)]
    if absent:
        packages = "slurmctld slurmd slurm-client munge" + " slurmdbd mariadb-server" * (kind == "site")
        return f"Slurm is not installed ({', '.join(absent)}): apt-get install {packages}"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root"


@contextmanager
def cluster(folder: Path, kind: str = "node") -> Iterator[dict[str, str]]:
    """Run a Slurm in a new folder; gives the environment in which its commands find it.

    A process of its own keeps it, and stops it when this one ends, however that happens.
    """
    command = [sys.executable, __file__, str(folder), kind]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as keeper:
        assert keeper.stdout
        line = keeper.stdout.readline()
        if not line:
            raise RuntimeError("Slurm did not start: see above.")
        yield json.loads(line)


@contextmanager
def _daemons(folder: Path, kind: str) -> Iterator[dict[str, str]]:
    host = socket.gethostname().split(".")[0]
    for name in ("state", "devices", "bin"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)  # munged insists on it
    for number in range(4):  # /dev/null under other names
        os.mknod(folder / "devices" / f"gpu{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (folder / "gres.conf").write_text(DEVICES[kind].format(folder=folder))
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    ports = _free_ports(6)
    settings = CONFIGURATION + KINDS[kind]
    nodes = re.findall(r"^NodeName=(\w+)", settings, re.MULTILINE)
    (folder / "slurm.conf").write_text(settings.format(host=host, ports=ports, folder=folder))
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    # The plugin clears SLURM_* before it calls srun, and all other commands where it runs in an allocation.
    for name in ("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun", "sshare"):
        wrapper = folder / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which(name)} "$@"\n')
        wrapper.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    environment |= {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{os.environ['PATH']}"}

    def call(*command: str) -> str:
        finished = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        return finished.stdout + finished.stderr

    files = {name: f"{folder}/munge.{name}" for name in ("key", "socket", "pid", "log", "seed")}
    options = [f"--{name}-file={files[name]}" for name in ("key", "pid", "log", "seed")]

    def started(condition: Callable[[], bool]) -> None:
        _wait(condition, lambda: _logs(folder))

    try:
        call("munged", "--force", f"--socket={files['socket']}", *options)
        started(Path(files["socket"]).exists)
        if kind == "site":
            _start_database(folder, ports[5], environment)
            started(lambda: "OK" in call("mariadb", "--no-defaults", f"--socket={folder}/sql", "-e", "select 'OK'"))
            call("mariadb", "--no-defaults", f"--socket={folder}/sql", "-e", DATABASE)
            (folder / "slurmdbd.conf").touch(mode=0o600)
            (folder / "slurmdbd.conf").write_text(ACCOUNTING.format(host=host, ports=ports, folder=folder))
            call("slurmdbd")
            started(lambda: "Cluster" in call("sacctmgr", "show", "cluster"))
            for added in (
                "cluster tests",
                "account heart",
                "qos cardiac",
                "user root account=heart qos=normal,cardiac",
            ):
                call("sacctmgr", "-i", "add", *added.split())
        call("slurmctld")
        started(lambda: "is UP" in call("scontrol", "ping"))
        for node in nodes:
            call("slurmd", "-N", node)
        idle = ["idle"] * len(nodes)
        started(lambda: call("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T").split() == idle)
        yield environment
    finally:
        call("scancel", "--user=root")
        _wait(lambda: not call("squeue", "--noheader").strip(), lambda: "", seconds=60, strict=False)
        for name in (*(f"slurmd-{node}" for node in nodes), "slurmctld", "slurmdbd", "mariadbd", "munge"):
            _stop(folder / f"{name}.pid")
        # Slurm does not see what has left its parent, and a daemon's pid file may be gone.
        _wait(lambda: not kill(processes(folder)), lambda: "", seconds=10, strict=False)


def processes(folder: Path, job: str = "") -> list[Path]:
    """The folders in /proc of all that runs in a Slurm's environment, or of one job and what watches it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            environment = (process / "environ").read_text(errors="replace")
            watched = (process / "cmdline").read_text().startswith(f"slurmstepd: [{job}.")
            of_job = not job or watched or f"SLURM_JOB_ID={job}\0" in environment
            if of_job and f"SLURM_CONF={folder}/slurm.conf" in environment:
                found.append(process)
    return found


def kill(found: list[Path]) -> list[Path]:
    """Kill processes; gives them back, since they take a moment to end."""
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process.name), signal.SIGKILL)
    return found


def _start_database(folder: Path, port: int, environment: dict[str, str]) -> None:
    files = ["--no-defaults", "--user=root", f"--datadir={folder}/database"]
    made = ["mariadb-install-db", *files, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(made, check=True, capture_output=True)
    listening = [f"--socket={folder}/sql", f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
    with (folder / "mariadbd.log").open("w", encoding="utf-8") as log:
        subprocess.Popen(
            ["mariadbd", *files, *listening, f"--pid-file={folder}/mariadbd.pid"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait(
    condition: Callable[[], bool], complaint: Callable[[], str], seconds: float = 60, strict: bool = True
) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            if strict:
                raise TimeoutError(f"Slurm did not start.\n{complaint()}")
            return
        time.sleep(0.1)


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob("*.log")))


def _stop(pid_file: Path) -> None:
    """End the daemon of a pid file, by force if it does not end in ten seconds."""
    try:
        pid = int(pid_file.read_text(encoding="utf-8"))
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            time.sleep(0.1)
            os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        pass


def command(folder: Path, *arguments: str, overlay: str = "") -> list[str]:
    """The user's command, from the repository's root."""
    (folder.parent / "overlay.yaml").write_text(overlay)
    files = [str(TINY), *([str(folder.parent / "overlay.yaml")] if overlay else [])]
    # Asked as often as suits jobs of seconds.
    options = ["--slurm-init-seconds-before-status-checks", "2", "--slurm-keep-successful-logs"]
    options += ["--directory", str(folder), "--configfile", *files]
    return [sys.executable, "-m", "snakemake", *arguments, "--profile", "slurm", "-j", "8", *options]


@dataclass
class Slurm:
    """Calls in the environment of the running cluster."""

    environment: dict[str, str]

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=1200)

    def start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("w", encoding="utf-8") as file:
            return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=file, stderr=file)

    def processes(self, job: str) -> list[Path]:
        return processes(Path(self.environment["SLURM_CONF"]).parent, job)

    def jobs(self, folder: Path) -> list[dict[str, str]]:
        """The records of the jobs that worked in a folder, oldest first; `rule` is the rule's or group's name."""
        lines = self.run(["scontrol", "show", "job", "--oneliner"]).stdout.splitlines()
        jobs = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines]
        mine = [job | _rule_and_wildcards(job) for job in jobs if Path(job.get("StdOut", "")).is_relative_to(folder)]
        return sorted(mine, key=lambda job: int(job["JobId"]))


def _rule_and_wildcards(job: dict[str, str]) -> dict[str, str]:
    rule, _, wildcards = job["Comment"].removeprefix("rule_").partition("_wildcards_")
    return {"rule": rule, "wildcards": wildcards}


if __name__ == "__main__":
    with _daemons(Path(sys.argv[1]), sys.argv[2]) as found:
        print(json.dumps(found), flush=True)
        sys.stdin.read()

"""A real SLURM on this machine, in a folder of its own: munged, slurmctld, slurmd."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
START_SECONDS = 60

SYSTEM_CONFIGURATION = Path("/etc/slurm/slurm.conf")
"""Where SLURM looks by itself. Snakemake's plugin takes SLURM_CONF out of the environment of its jobs."""

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MpiDefault=none
KillWait=20
MinJobAge=300
SlurmdTimeout=30
InactiveLimit=0
SchedulerParameters=sched_min_interval=500000,bf_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb}
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE OverTimeLimit=0 State=UP PriorityTier=1
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10
"""


def missing() -> str | None:
    """Why SLURM cannot be started here, or None."""
    if os.getuid() != 0:
        return "SLURM's daemons are started as root, and this is not"
    if SYSTEM_CONFIGURATION.exists():
        return f"{SYSTEM_CONFIGURATION} is there: this machine belongs to a cluster"
    absent = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    return f"not installed: {', '.join(absent)} (scripts/install_test_tools.sh installs them)" if absent else None


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@dataclass
class Slurm:
    """The daemons, all children of this process."""

    root: Path
    cpus: int = 2
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which SLURM's commands find this cluster."""
        return {**os.environ, "PATH": SEARCH}

    def start(self) -> None:
        for name in ("state", "spool", "munge"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._start_munge()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        text = CONFIGURATION.format(
            host=socket.gethostname(),
            root=self.root,
            cpus=self.cpus,
            memory_mb=memory * 9 // 10,
            controller_port=free_port(),
            node_port=free_port(),
        )
        configuration = self.root / "slurm.conf"
        configuration.write_text(text, encoding="ascii")
        SYSTEM_CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
        SYSTEM_CONFIGURATION.unlink(missing_ok=True)  # what a killed test left dangling
        SYSTEM_CONFIGURATION.symlink_to(configuration)
        self._daemon("slurmctld", ["slurmctld", "-D", "-i"])
        self.start_node()

    def _start_munge(self) -> None:
        folder = self.root / "munge"
        owner = pwd.getpwnam("munge")
        subprocess.run(["mungekey", "--create", f"--keyfile={folder}/key"], check=True, env=self.environment)
        for path in (folder, folder / "key"):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        folder.chmod(0o755)
        command = ["munged", "--foreground", "--force", f"--socket={folder}/socket", f"--key-file={folder}/key"]
        command += [f"--pid-file={folder}/pid", f"--log-file={folder}/log", f"--seed-file={folder}/seed"]
        program = shutil.which("munged", path=SEARCH)
        assert program
        self.daemons["munged"] = subprocess.Popen(
            [program, *command[1:]], user="munge", group="munge", extra_groups=[], stderr=subprocess.DEVNULL
        )
        wait_for(lambda: (folder / "socket").exists(), "munge's socket")

    def _daemon(self, name: str, command: list[str]) -> None:
        program = shutil.which(command[0], path=SEARCH)
        assert program
        with (self.root / f"{name}.out").open("ab") as stream:
            self.daemons[name] = subprocess.Popen(
                [program, *command[1:]], env=self.environment, stdout=stream, stderr=stream, start_new_session=True
            )

    def start_node(self) -> None:
        """Start the node's daemon and wait until it takes jobs."""
        self._daemon("slurmd", ["slurmd", "-D", "-N", socket.gethostname()])
        wait_for(lambda: self.node_state() in {"idle", "mixed", "allocated"}, f"the node to be up in {self.root}")

    def node_state(self) -> str:
        done = self.run("sinfo", "--noheader", "--format", "%T", check=False)
        lines = done.stdout.split()
        return lines[0] if lines else ""

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One of SLURM's commands."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=check, timeout=60)

    def jobs(self) -> list[dict[str, str]]:
        """The jobs in the queue: number, name, state, comment."""
        keys = ("job", "name", "state", "partition", "comment")
        done = self.run("squeue", "--noheader", "--format", "%i|%j|%T|%P|%k", check=False)
        return [dict(zip(keys, line.split("|"), strict=True)) for line in done.stdout.splitlines()]

    def kill_node(self) -> None:
        """Kill the node's daemon and whatever it started, as when a machine goes down."""
        daemon = self.daemons.pop("slurmd")
        tree = descendants(daemon.pid) | step_daemons(self.root)
        tree |= {child for pid in tree for child in descendants(pid)}
        for pid in [daemon.pid, *tree]:
            kill(pid)
        daemon.wait(timeout=30)

    def stop(self) -> None:
        """End the jobs and the daemons."""
        if "slurmctld" in self.daemons:
            self.run("scancel", "--user", "root", check=False)
            deadline = time.monotonic() + 30
            while self.jobs() and time.monotonic() < deadline:
                time.sleep(0.5)
        for pid in step_daemons(self.root):
            kill(pid)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(timeout=15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        if SYSTEM_CONFIGURATION.is_symlink():
            SYSTEM_CONFIGURATION.unlink()


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def parents() -> dict[int, int]:
    """The parent of each process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        found[int(path.parent.name)] = int(text.rpartition(")")[2].split()[1])
    return found


def descendants(pid: int) -> set[int]:
    """All processes below one."""
    tree = parents()
    found = {pid}
    while more := {child for child, parent in tree.items() if parent in found} - found:
        found |= more
    return found - {pid}


def step_daemons(root: Path) -> set[int]:
    """SLURM's processes that watch the jobs of this cluster, known by its configuration in their environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name = (path / "comm").read_text(encoding="ascii").strip()
            variables = (path / "environ").read_bytes()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith("slurmstepd") and (str(root).encode() in variables or str(root).encode() in command):
            found.add(int(path.name))
    return found


def wait_for(happened, what: str, seconds: float = START_SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)

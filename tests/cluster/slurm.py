"""A real Slurm for tests.

Two nodes and the controller share this machine, without systemd or cgroups. The nodes'
names are addresses of the loopback interface: JAX connects to the first node by its
name, which needs no entry in /etc/hosts.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.commands import LIMIT_SECONDS

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol", "squeue")
NODES = ("127.0.0.1", "127.0.0.2")
NUM_GPUS = 4  # of each node; null devices that Slurm counts and assigns

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/node-%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/node-%n.log
# Everything that needs systemd, cgroups, a mail server or a database is off.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
# Short intervals, because the tests wait.
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,\
batch_sched_delay=0,requeue_delay=1
SlurmdTimeout=5
MessageTimeout=3
ReturnToService=2
InactiveLimit=0
KillWait=30
MinJobAge=300
JobRequeue=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=30 MaxTime=INFINITE
PartitionName=urgent Nodes=ALL PriorityTier=9 PreemptMode=OFF MaxTime=INFINITE
"""


class Slurm:
    """A cluster of two nodes with two processors each, and partitions main and urgent.

    A job in urgent preempts one in main: SIGTERM, 30 seconds of grace, requeue.
    """

    def __init__(self, folder: Path):
        # With it, srun, sbatch and the others find this cluster.
        self.env = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self._folder = folder  # empty
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Writes the configuration, starts all daemons and waits for idle nodes."""
        folder = self._folder
        folder.chmod(0o755)  # munged refuses a socket that others may not reach
        (folder / "controller").mkdir()
        for number in range(NUM_GPUS):
            os.mknod(folder / f"gpu{number}", 0o20666, os.makedev(1, 3))
        gpus = f"Name=gpu File={folder}/gpu[0-{NUM_GPUS - 1}]\n"
        (folder / "gres.conf").write_text(gpus)
        host = socket.gethostname().partition(".")[0]
        controller_port, *ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr={node} Port={port} "
            f"CPUs=2 RealMemory=4000 Gres=gpu:{NUM_GPUS}"
            for node, port in zip(NODES, ports, strict=True)
        )
        text = CONFIGURATION.format(
            host=host, controller_port=controller_port, folder=folder, nodes=nodes
        )
        (folder / "slurm.conf").write_text(text)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = "socket", "pid-file", "seed-file", "key-file", "log-file"
        words = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in files]
        self._start("munged", "munged", "--foreground", "--force", *words)
        wait_until((folder / "munge.socket").exists, "munged's socket")
        self._start("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            self._start(node, "slurmd", "-D", "-N", node)
        wait_until(self.is_idle, "idle nodes")

    def stop(self) -> None:
        """Ends all jobs and all daemons."""
        with contextlib.suppress(Exception):
            self.end_jobs()
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        _kill(self.processes())

    def run(self, *words: object, **options: Any) -> str:
        """Runs a command of Slurm; returns its output, stripped.

        Raises:
          subprocess.CalledProcessError: the command failed; its notes have the output.
        """
        options = {"env": self.env, "timeout": LIMIT_SECONDS, **options}
        result = subprocess.run(
            [str(word) for word in words], text=True, capture_output=True, **options
        )
        if result.returncode:
            error = subprocess.CalledProcessError(result.returncode, result.args)
            error.add_note(f"{result.stdout}\n{result.stderr}")
            raise error
        return result.stdout.strip()

    def state(self, job: str) -> str:
        """Returns a job's state: PENDING, RUNNING, COMPLETED, FAILED and so on."""
        return self.field(job, "JobState")

    def field(self, job: str, name: str) -> str:
        """Returns a field of ``scontrol show job``, such as Restarts."""
        shown = self.run("scontrol", "--oneliner", "show", "job", job)
        return re.findall(rf"\b{name}=(\S*)", shown)[0]

    def is_idle(self) -> bool:
        """Returns whether all nodes are idle."""
        try:
            states = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split()
        except subprocess.CalledProcessError:  # the controller is not yet up
            return False
        return states == ["idle"] * len(NODES)

    def end_jobs(self) -> None:
        """Cancels every job, and waits for idle nodes."""
        self.run("scancel", "--user=root")
        wait_until(self.is_idle, "idle nodes after all jobs were cancelled")

    def kill_node(self, node: str) -> None:
        """Kills a node's daemon and all its processes, like a loss of power."""
        daemon = self._daemons.pop(node)
        daemon.kill()
        daemon.wait()
        _kill(self.processes(node))

    def start_node(self, node: str) -> None:
        """Starts the daemon of a killed node again, and waits until the node is up."""
        self._start(node, "slurmd", "-D", "-N", node)
        words = "sinfo", "-h", "-N", "-n", node, "-p", "main", "-o", "%T"
        up = "idle", "allocated", "mixed", "completing"
        wait_until(lambda: self.run(*words) in up, f"{node} to be up")

    def _start(self, name: str, program: str, *words: str) -> None:
        with (self._folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                [find(program) or program, *words],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self, node: str | None = None) -> list[psutil.Process]:
        """Returns the processes on a node, or on all nodes: slurmstepds, then tasks.

        A slurmstepd keeps a task. It must be killed first, or it would report the end
        of its task.
        """
        keepers, tasks = set(), []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                env = process.environ()
                where = env.get("SLURMD_NODENAME")
                ours = env.get("SLURM_CONF") == self.env["SLURM_CONF"]
                if ours and where and node in (None, where):
                    tasks.append(process)
                    parent = process.parent()
                    if parent and parent.name() == "slurmstepd":
                        keepers.add(parent)
        return [*keepers, *tasks]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Waits until a condition is true; fails after ``LIMIT_SECONDS``."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {LIMIT_SECONDS} s for {what}"
        time.sleep(0.2)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def find(program: str) -> str | None:
    """Finds a program; Debian's daemons are in folders outside a user's PATH."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]

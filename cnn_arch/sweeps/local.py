"""Trials as processes on this machine."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import psutil

from cnn_arch.errors import UsageError
from cnn_arch.parallel.cores import SLURM_COUNTS
from cnn_arch.parallel.gpus import visible_gpus
from cnn_arch.sweeps.manifest import Sweep, Trial


class Local:
    """Runs up to ``max_parallel`` trials at a time on this machine.

    It finds a trial by its command line, which has the trial's run directory. This also
    finds trials that an earlier launcher started.
    """

    interval_seconds = 1.0  # between two checks of the trials

    def __init__(self, sweep: Sweep):
        """Shares out the GPUs: one per trial, or more if fewer trials run at a time.

        Raises:
          UsageError: ``max_parallel`` is below 1, or above the number of GPUs.
        """
        gpus = visible_gpus()
        given = sweep.max_parallel
        self.max_parallel = (len(gpus) or 1) if given is None else given
        if self.max_parallel < 1:
            raise UsageError(f"--max_parallel={given}: must be at least 1")
        if gpus and self.max_parallel > len(gpus):
            raise UsageError(
                f"--max_parallel={given}: each trial needs one GPU, and there are "
                f"{len(gpus)}"
            )
        share = len(gpus) // self.max_parallel
        self._gpus = [
            ",".join(gpus[share * slot : share * (slot + 1)])
            for slot in range(self.max_parallel)
        ]
        self._sweep = sweep
        self._children: list[subprocess.Popen[bytes]] = []
        self._processes: dict[str, psutil.Process] = {}

    def gpus(self, slot: int) -> str:
        """Returns the GPUs of a slot, in the form of CUDA_VISIBLE_DEVICES."""
        return self._gpus[slot % len(self._gpus)]

    def active(self) -> dict[str, str]:
        """Returns the names of the running trials, each with its state."""
        self._children = [each for each in self._children if each.poll() is None]
        names = {
            f"--workdir={self._sweep.path(trial)}": trial.name
            for trial in self._sweep.trials
        }
        self._processes = {}
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or ()  # an ended process has none
            if any(Path(word).name == self._sweep.program[0] for word in words):
                for name in (names[word] for word in words if word in names):
                    self._processes.setdefault(name, process)
        return dict.fromkeys(self._processes, "running")

    def start(self, trials: list[Trial]) -> None:
        """Starts trials; a trial that ran before continues."""
        # The launcher may be a Slurm job; its trials are not, but share its cores.
        env = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("SLURM_") or key in SLURM_COUNTS
        }
        for trial in trials:
            active = self._processes
            taken = {each.slot for each in self._sweep.trials if each.name in active}
            # Trials of an earlier launcher may occupy slots beyond this one's number.
            trial.slot = min(set(range(len(self._gpus) + len(taken))) - taken)
            gpus = self.gpus(trial.slot)
            trial.submission = ""
            log = self._sweep.log(trial)
            log.parent.mkdir(exist_ok=True)
            with log.open("wb") as file:
                # In a new session: neither Ctrl-C nor a closed terminal reaches it.
                process = subprocess.Popen(
                    self._sweep.command(trial),
                    cwd=self._sweep.folder,
                    env=env | ({"CUDA_VISIBLE_DEVICES": gpus} if gpus else {}),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._children.append(process)
            trial.job, trial.state = str(process.pid), "running"
            self._processes[trial.name] = psutil.Process(process.pid)

    def stop(self, trial: Trial) -> None:
        """Asks a trial to save and exit."""
        if process := self._processes.get(trial.name):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)

"""Trials as processes of this machine."""

import os
import signal
import subprocess
from pathlib import Path

import psutil

from cnn_arch.errors import UsageError
from cnn_arch.parallel.gpus import visible_gpus
from cnn_arch.sweeps.manifest import Sweep, Trial


class Local:
    """Runs trials on this machine, so many at a time.

    A trial is found by its command line, which names its run directory: also one that
    an earlier launcher started.

    Attributes:
      max_parallel: trials at a time.
      interval_seconds: between two looks at them.
    """

    interval_seconds = 1.0

    def __init__(self, sweep: Sweep):
        """Shares out the GPUs: one a trial, or more where fewer trials run at a time.

        Raises:
          UsageError: more trials at a time than there are GPUs, or none.
        """
        gpus = visible_gpus()
        asked = sweep.max_parallel
        self.max_parallel = (len(gpus) or 1) if asked is None else asked
        if self.max_parallel < 1:
            raise UsageError(f"--max_parallel={asked}: must be at least 1")
        if gpus and self.max_parallel > len(gpus):
            raise UsageError(
                f"--max_parallel={asked}: each trial needs a GPU of its own, "
                f"and there are {len(gpus)}"
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
        """Returns the GPUs of a parallel place, as CUDA_VISIBLE_DEVICES takes them."""
        return self._gpus[slot % len(self._gpus)]

    def active(self) -> dict[str, str]:
        """Returns the names of the trials that run, each with its state."""
        self._children = [each for each in self._children if each.poll() is None]
        names = {
            f"--workdir={self._sweep.path(trial)}": trial.name
            for trial in self._sweep.trials
        }
        self._processes = {}
        for process in psutil.process_iter(["cmdline"]):  # one that ended has none
            words = process.info["cmdline"] or ()
            if any(Path(word).name == "train.py" for word in words):
                for name in (names[word] for word in words if word in names):
                    self._processes.setdefault(name, process)
        return dict.fromkeys(self._processes, "running")

    def start(self, trials: list[Trial]) -> None:
        """Starts trials; those that ran before continue."""
        # Where the launcher itself is a job of Slurm's, its trials are none.
        env = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("SLURM_")
        }
        for trial in trials:
            active = set(self._processes)
            taken = {each.slot for each in self._sweep.trials if each.name in active}
            trial.slot = min(set(range(len(self._gpus) + len(taken))) - taken)
            gpus = self.gpus(trial.slot)
            trial.submission = ""
            log = self._sweep.log(trial)
            log.parent.mkdir(exist_ok=True)
            with log.open("wb") as file:
                # Of its own session: neither Ctrl-C nor a closed terminal reaches it.
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
        """Asks a trial to save and to end."""
        process = self._processes.get(trial.name)
        try:
            if process:
                process.send_signal(signal.SIGTERM)
        except psutil.NoSuchProcess:
            pass

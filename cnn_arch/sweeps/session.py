"""What sweep.py and experiment.py share: where trials run, and the run of all."""

import argparse
import shutil

from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen
from cnn_arch.sweeps import launch, manifest, view
from cnn_arch.sweeps.local import Local
from cnn_arch.sweeps.slurm import RESOURCES, Slurm


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where trials run."""
    text = "default slurm if it is installed"
    parser.add_argument("--executor", choices=["local", "slurm"], help=text)
    for name, text in {
        "max_parallel": "trials at a time; local default: one per GPU",
        "gpus_per_node": "Slurm: for each trial",
        "nodes": "Slurm: for each trial",
        "cpus_per_task": "Slurm: for each process",
    }.items():
        parser.add_argument(f"--{name}", type=int, help=text)
    parser.add_argument("--partition", help="Slurm: the queue")
    parser.add_argument("--time", help="Slurm: limit of each trial, such as 12:00:00")
    parser.add_argument("--status", action="store_true", help="show the trials' states")


def choose_executor(
    sweep: manifest.Sweep, options: argparse.Namespace
) -> launch.Executor:
    """Returns where the trials run, and stores the choice in the sweep's record.

    Raises:
      UsageError: Slurm is not installed here, or an option needs another executor.
    """
    found = "slurm" if shutil.which("sbatch") else "local"
    sweep.move_to(options.executor or sweep.executor or found)
    if options.max_parallel is not None:
        sweep.max_parallel = options.max_parallel
    given = {key: options.given[key] for key in RESOURCES if key in options.given}
    if given and sweep.executor != "slurm":
        raise UsageError(f"--{next(iter(given))}: needs --executor=slurm")
    sweep.resources |= given
    return {"local": Local, "slurm": Slurm}[sweep.executor](sweep)


def run_trials(
    sweep: manifest.Sweep, executor: launch.Executor, screen: Screen, *, watches: bool
) -> tuple[set[str], int]:
    """Runs all trials that are not finished, or only watches them.

    On Slurm, trials are submitted and run without this command, except in a search.

    Returns:
      The names of the trials that still run or wait, and the number of the signal that
      asked to stop, or 0.
    """
    if watches:
        if screen.is_terminal:
            with view.display(screen) as show:
                launch.watch(sweep, executor, show)
        return launch.look(sweep, executor), 0
    with sweep.held():
        sweep.save()
        screen.say("trials", view.counts(sweep))
        stopped = 0
        if is_handed_over(sweep):
            launch.submit(sweep, executor)
        else:
            with view.display(screen) as show:
                stopped = launch.carry_out(sweep, executor, show)
        return launch.refresh(sweep, executor), stopped


def is_handed_over(sweep: manifest.Sweep) -> bool:
    """Returns whether trials run without the command that started them."""
    return sweep.executor == "slurm" and not sweep.space

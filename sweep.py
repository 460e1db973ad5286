"""Trains a recipe many times, with settings varied, here or on a Slurm cluster.

The story, in order: the trials, each checked before any starts; where they run; the
launcher, which can be killed at any moment; and the results, as a table and a figure.
"""

import argparse
import shutil
from pathlib import Path

from cnn_arch import cli, run_directory, settings
from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen
from cnn_arch.sweeps import launch, manifest, results, space, view
from cnn_arch.sweeps.local import Local
from cnn_arch.sweeps.slurm import RESOURCES, Slurm

EXAMPLES = """\
  python sweep.py --config=configs/resnet20.py:cifar10 --sweep=configs/sweeps/lr_wd.py
  python sweep.py --config=configs/lenet5.py --sweep=configs/sweeps/lr_wd.py \\
      --search=tpe --num_trials=20 --max_parallel=2 --config.epochs=20
  python sweep.py --config=configs/resnet34.py --sweep=configs/sweeps/lr_wd.py \\
      --executor=slurm --partition=gpu --gpus_per_node=4 --time=12:00:00
  python sweep.py --workdir=runs/sweep-resnet20-cifar10-1 --status
  python sweep.py --workdir=runs/sweep-resnet20-cifar10-1 --resume

--config.KEY=VALUE holds for all trials. Each trial is an ordinary run directory,
WORKDIR/trial-NN. Recipes and sweep files are Python code: run only those that you
trust."""


def main(options: argparse.Namespace, words: list[str], _: cli.Ending) -> int:
    """Runs the command; returns its exit status."""
    screen = Screen(quiet=options.quiet)
    sweep = plan(options, words)
    executor = choose_executor(sweep, options)
    is_handed_over = sweep.executor == "slurm" and not sweep.space
    is_brief = options.status or is_handed_over
    goes_on = "" if is_brief else "   (stop: Ctrl-C, continues later)"
    screen.say("sweep", f"{view.relative(sweep.workdir)}{goes_on}")
    screen.say("runs", f"{' '.join(sweep.words)}, on {sweep.executor}")

    stopped = None
    if options.status:
        if screen.is_terminal:
            with view.shown(screen) as show:
                launch.watch(sweep, executor, show)
        active = launch.look(sweep, executor)
    else:
        with sweep.held():
            sweep.save()
            screen.say("trials", view.counts(sweep))
            if is_handed_over:
                launch.submit(sweep, executor)
            else:
                with view.shown(screen) as show:
                    stopped = launch.carry_out(sweep, executor, show)
            active = launch.refresh(sweep, executor)
    if options.status or active or screen.is_terminal:
        view.tell_table(sweep, screen)

    view.tell_failures(sweep, screen)
    view.tell_best(sweep, screen)
    screen.say("wrote", "  ".join(results.write(sweep)))
    if stopped:
        again = view.again(sweep, "--resume")
        screen.row(f"stopped: {view.counts(sweep)}. Continue: {again}", last=True)
        return 128 + stopped
    left = launch.unfinished(sweep)
    cli.say_next(screen, *view.next_commands(sweep, bool(active), bool(left)))
    return 1 if left and not options.status else 0


def plan(options: argparse.Namespace, words: list[str]) -> manifest.Sweep:
    """Returns the sweep that is asked for, new or begun before.

    Raises:
      UsageError: it cannot be.
    """
    if options.num_trials is not None and options.num_trials < 1:
        raise UsageError(f"--num_trials={options.num_trials}: must be at least 1")
    if options.status or options.resume:
        if not options.workdir:
            raise UsageError("--workdir: must be given with --status and --resume")
        if given := [*words, *filter(None, [options.sweep, options.search])]:
            raise UsageError(
                f"{given[0]}: a sweep goes on as it was begun; leave it out"
            )
        sweep = manifest.load(Path(options.workdir))
        if options.num_trials and not sweep.space:
            raise UsageError("--num_trials: only a sweep with --search=tpe can grow")
        sweep.num_trials = options.num_trials or sweep.num_trials
        return sweep
    if not options.sweep:
        raise UsageError("--sweep: must be given, or --status or --resume; see --help")
    config, _ = settings.parse(words)
    workdir = run_directory.choose(options.workdir, config, prefix="sweep-")
    if options.search or options.num_trials:
        if not (options.search and options.num_trials):
            raise UsageError("--search=tpe: goes with --num_trials=N; give both")
        ranges = space.read_space(options.sweep, words)
        return manifest.open_or_make(workdir, words, [], ranges, options.num_trials)
    trials = space.read_trials(options.sweep, words)
    return manifest.open_or_make(workdir, words, trials, {}, len(trials))


def choose_executor(
    sweep: manifest.Sweep, options: argparse.Namespace
) -> launch.Executor:
    """Returns where the trials run, and notes it in the sweep's record.

    Raises:
      UsageError: that is not there, or an option does not go with it.
    """
    found = "slurm" if shutil.which("sbatch") else "local"
    sweep.move_to(options.executor or sweep.executor or found)
    if options.max_parallel is not None:
        sweep.max_parallel = options.max_parallel
    given = {key: getattr(options, key) for key in RESOURCES}
    given = {key: value for key, value in given.items() if value is not None}
    if given and sweep.executor != "slurm":
        raise UsageError(f"--{next(iter(given))}: goes with --executor=slurm")
    sweep.resources |= given
    return {"local": Local, "slurm": Slurm}[sweep.executor](sweep)


if __name__ == "__main__":
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("--sweep", help="a file that lists trials: configs/sweeps/")
    parser.add_argument(
        "--search", choices=["tpe"], help="let Optuna choose trials, and stop poor ones"
    )
    parser.add_argument("--num_trials", type=int, help="how many a search makes")
    parser.add_argument("--workdir", help="default runs/sweep-MODEL-DATA-N")
    parser.add_argument(
        "--executor", choices=["local", "slurm"], help="default slurm where it is"
    )
    parser.add_argument(
        "--max_parallel", type=int, help="trials at a time; here: default one a GPU"
    )
    parser.add_argument("--gpus_per_node", type=int, help="Slurm: of each trial")
    parser.add_argument("--nodes", type=int, help="Slurm: of each trial")
    parser.add_argument("--cpus_per_task", type=int, help="Slurm: of each process")
    parser.add_argument("--partition", help="Slurm: where trials queue")
    parser.add_argument("--time", help="Slurm: limit of each trial, such as 12:00:00")
    parser.add_argument("--resume", action="store_true", help="run what is unfinished")
    parser.add_argument("--status", action="store_true", help="show how trials stand")
    cli.run(main, parser)

"""Trains a recipe many times with different settings, here or on a Slurm cluster.

It checks all trials before it starts one, chooses where they run, launches them, and
writes their results as a table and figures. It can be killed at any time and resumed.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from cnn_arch import cli, command_line, folders, settings
from cnn_arch.errors import UsageError
from cnn_arch.screen import Screen
from cnn_arch.sweeps import launch, manifest, results, session, space, view

EXAMPLES = """\
  python sweep.py --config=configs/resnet20.py:cifar10 --sweep=configs/sweeps/lr_wd.py
  python sweep.py --config=configs/lenet5.py --sweep=configs/sweeps/lr_wd.py \\
      --search=tpe --num_trials=20 --max_parallel=2 --config.epochs=20
  python sweep.py --config=configs/resnet34.py --sweep=configs/sweeps/lr_wd.py \\
      --executor=slurm --partition=gpu --gpus_per_node=4 --time=12:00:00
  python sweep.py --workdir=runs/sweep-resnet20-cifar10-1 --status
  python sweep.py --workdir=runs/sweep-resnet20-cifar10-1 --resume

--config.KEY=VALUE applies to all trials. Each trial has its run directory,
WORKDIR/trial-NN. Recipes and sweep files are Python code: run only those that you
trust."""


def main(options: argparse.Namespace, words: list[str], ending: cli.Ending) -> int:
    """Runs the command; returns its exit status."""
    command_line.check_use(options.given, launch.USES, otherwise="sweep")
    screen = Screen(quiet=options.quiet)
    sweep = plan(options, words, ending.cleanup)
    command_line.check_folder("--workdir", str(sweep.workdir))
    executor = session.choose_executor(sweep, options)
    executor.active()  # a cluster that does not answer ends the command here
    is_brief = options.status or session.is_handed_over(sweep)
    hint = "" if is_brief else "   (stop: Ctrl-C, continues later)"
    screen.say("sweep", f"{view.relative(sweep.workdir)}{hint}")
    screen.say("runs", f"{' '.join(sweep.words)}, on {sweep.executor}")
    active, stopped = session.run_trials(
        sweep, executor, screen, watches=options.status
    )
    if options.status or active or screen.is_terminal:
        view.print_table(sweep, screen)

    view.print_failures(sweep, screen)
    view.print_best(sweep, screen)
    screen.say("wrote", "  ".join(results.write(sweep)))
    if stopped:
        again = view.own_command(sweep, "--resume")
        screen.row(f"stopped: {view.counts(sweep)}. Continue: {again}", last=True)
        return 128 + stopped
    left = launch.unfinished(sweep)
    cli.say_next(screen, *view.next_commands(sweep, bool(active), bool(left)))
    return 1 if left and not options.status else 0


def plan(
    options: argparse.Namespace, words: list[str], cleanup: ExitStack
) -> manifest.Sweep:
    """Returns the sweep of the command line: a new one, or one to continue.

    The folder of a new one is made; ``cleanup`` removes it if it stays empty.

    Raises:
      UsageError: options are missing or do not go together, or a setting is invalid.
    """
    if options.num_trials is not None and options.num_trials < 1:
        raise UsageError(f"--num_trials={options.num_trials}: must be at least 1")
    if options.status or options.resume:
        if not options.workdir:
            raise UsageError("--workdir: must be given with --status and --resume")
        if given := [*words, *filter(None, [options.sweep, options.search])]:
            raise UsageError(
                f"{given[0]}: cannot be changed in an existing sweep; leave it out"
            )
        sweep = manifest.load(Path(options.workdir))
        if options.num_trials and not sweep.space:
            raise UsageError("--num_trials: only a search can get more trials")
        sweep.num_trials = options.num_trials or sweep.num_trials
        return sweep
    if not options.sweep:
        raise UsageError("--sweep: must be given, or --status or --resume; see --help")
    config, _ = settings.parse(words)
    workdir = folders.make(options.workdir, config, cleanup, prefix="sweep-")
    if options.search or options.num_trials:
        if not (options.search and options.num_trials):
            raise UsageError("--search=tpe: needs --num_trials=N; give both")
        ranges = space.read_space(options.sweep, words)
        return manifest.open_or_make(workdir, words, [], ranges, options.num_trials)
    trials = space.read_trials(options.sweep, words)
    return manifest.open_or_make(workdir, words, trials, {}, len(trials))


if __name__ == "__main__":
    parser = command_line.parser(__doc__, EXAMPLES)
    parser.add_argument("--sweep", help="a file that lists trials: configs/sweeps/")
    text = "let Optuna choose trials, and stop poor ones"
    parser.add_argument("--search", choices=["tpe"], help=text)
    parser.add_argument("--workdir", help="default runs/sweep-MODEL-DATA-N")
    text = "trials of a search"
    parser.add_argument("--num_trials", type=int, help=text)
    session.add_options(parser)
    parser.add_argument("--resume", action="store_true", help="run unfinished trials")
    cli.run(main, parser)

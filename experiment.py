"""Tries a claim of the lectures: trains networks, measures them, computes a verdict.

It reads the experiment's file, trains its variants as a sweep, measures each run that
has ended, and writes a page with a figure. It can be killed at any time; the same
command continues.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cnn_arch import cli, command_line, folders
from cnn_arch.errors import UsageError
from cnn_arch.experiments import halves, plan, record, show
from cnn_arch.experiments.plan import Experiment
from cnn_arch.installation import command
from cnn_arch.screen import Screen
from cnn_arch.sweeps import launch, manifest, session, view

EXAMPLES = """\
  python experiment.py
  python experiment.py relu --data_dir=cifar10_folders
  python experiment.py degradation --size=full --config.precision=float32
  python experiment.py degradation --size=full --executor=slurm --partition=gpu
  python experiment.py degradation --size=full --status
  python experiment.py --report

Without a name, it lists the experiments. --config.KEY=VALUE applies to all runs:
--config.epochs=164 makes a long experiment of a short one. The files in
configs/experiments/ are Python code: run only those that you trust."""

CHOICE = "size", "data", "data_dir", "workdir"  # which runs
USES = {
    "report": (),
    "status": ("name", *CHOICE),
    "name": (*CHOICE, "note", "executor", "max_parallel", *session.RESOURCES),
    "list": (),
}


def main(options: argparse.Namespace, words: list[str], ending: cli.Ending) -> int:
    """Runs the command; returns its exit status."""
    command_line.check_use(options.given, USES, otherwise="list")
    screen = Screen(quiet=options.quiet)
    if options.report:
        return show.report(record.RUNS, Path(options.report), screen)
    if not options.name and not options.status:
        return cli.say_next(screen, show.list_all(record.RUNS, screen))
    if not options.name:
        raise UsageError("NAME: must be given with --status")
    experiment = plan.read(options.name)
    data = choose_data(experiment, options, words)
    variants, trials = plan.check(experiment, options.size, data, words)
    if data and not options.status:
        plan.check_data(trials[0], words)
    sweep = open_sweep(experiment, options, (words, trials), ending.cleanup)
    executor = session.choose_executor(sweep, options)
    executor.active()  # a cluster that does not answer ends the command here
    is_brief = options.status or session.is_handed_over(sweep)
    hint = "" if is_brief else "   (stop: Ctrl-C, continues later)"
    screen.say("run", f"{view.relative(sweep.workdir)}{hint}")
    show.say_claim(experiment, screen)
    active, stopped = session.run_trials(
        sweep, executor, screen, watches=options.status
    )
    if options.status or active or screen.is_terminal:
        view.print_table(sweep, screen)
    view.print_failures(sweep, screen)

    found = record.load(sweep.workdir)
    found = found or record.new(experiment, options.size, own_words(options, words))
    found["note"] = options.note or found["note"]
    record.update(found, experiment, sweep, variants, screen)
    show.say_verdict(experiment, found, sweep.workdir, screen)
    again = command("experiment", experiment.name, *found["words"])
    if stopped:
        screen.row(f"stopped: {view.counts(sweep)}. Continue: {again}", last=True)
        return 128 + stopped
    left = launch.unfinished(sweep)
    done = command("experiment", "--report")
    cli.say_next(screen, again if active or left else done)
    return 1 if left and not options.status else 0


def open_sweep(
    experiment: Experiment,
    options: argparse.Namespace,
    runs: tuple[list[str], list[dict[str, Any]]],
    cleanup: ExitStack,
) -> manifest.Sweep:
    """Returns the runs of an experiment as a sweep: a new one, or one to continue.

    Args:
      experiment: what is tried.
      options: of the command line.
      runs: the settings that all share, and those of each.
      cleanup: removes a new folder that stays empty.

    Raises:
      UsageError: the folder has other runs, or with --status none.
    """
    workdir = place(experiment, options)
    command_line.check_folder("--workdir", workdir)
    path, (words, trials) = folders.check_path(Path(workdir)), runs
    if options.status and not (path / manifest.NAME).exists():
        start = command("experiment", experiment.name, f"--size={options.size}")
        raise UsageError(f"--status: {workdir} has no runs; start them: {start}")
    folders.make_new(path, cleanup)
    plan.check_same(path, words, trials)
    sweep = manifest.open_or_make(path, words, trials, {}, len(trials))
    sweep.program = experiment.program
    return sweep


def place(experiment: Experiment, options: argparse.Namespace) -> str:
    """Returns the folder of the runs."""
    return options.workdir or str(record.RUNS / f"{experiment.name}-{options.size}")


def choose_data(
    experiment: Experiment, options: argparse.Namespace, words: list[str]
) -> str:
    """Returns what follows the colon of the recipes; adds the folder to ``words``.

    Raises:
      UsageError: the experiment needs a folder or has no data, or a word names a
        recipe.
    """
    if any(word.startswith("--config=") or word == "--config" for word in words):
        raise UsageError("--config: an experiment has its recipes; leave it out")
    for name in ("data", "data_dir"):
        if name in options.given and not experiment.data:
            raise UsageError(f"--{name}: {experiment.name} has no data; leave it out")
    if experiment.data == "photographs" and not options.data_dir:
        raise UsageError(
            "--data_dir=DIR: must be given; a folder of photographs, DIR/CLASS/*.jpg "
            "(docs/pictures.md)"
        )
    if options.data_dir:
        folder, workdir = Path(options.data_dir), Path(place(experiment, options))
        if experiment.halves and not options.status:
            halves.make(folder, workdir)
        used = halves.first(workdir) if experiment.halves else folder.absolute()
        words.append(f"--config.data.dir={used}")
    return options.data or ("folder" if options.data_dir else experiment.data)


def own_words(options: argparse.Namespace, words: list[str]) -> list[str]:
    """Returns the words of this command, with which it continues."""
    chosen = [key for key in CHOICE if key in options.given]
    given = [f"--{key}={options.given[key]}" for key in chosen]
    settings = [each for each in words if not each.startswith("--config.data.dir=")]
    return given + settings


if __name__ == "__main__":
    parser = command_line.parser(__doc__, EXAMPLES)
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the experiment")
    text = "; ".join(f"{size}: {text}" for size, text in plan.SIZES.items())
    parser.add_argument("--size", choices=plan.SIZES, default="minutes", help=text)
    text = "what follows the colon of a recipe: cifar10, mnist5k, folder"
    parser.add_argument("--data", help=text)
    parser.add_argument("--data_dir", metavar="DIR", help="the data's folder")
    parser.add_argument("--note", help="a remark for the page, such as on the data")
    text = "default runs/experiments/NAME-SIZE"
    parser.add_argument("--workdir", help=text)
    session.add_options(parser)
    parser.add_argument(
        "--report",
        nargs="?",
        const=str(record.RUNS),
        metavar="DIR",
        help="write lectures.md of all experiments; default in runs/experiments",
    )
    cli.run(main, parser, needs_words=False)

"""Tries a claim of the lectures: trains networks, measures them, computes a verdict.

It reads the experiment's file, trains its variants as a sweep, measures each run that
has ended, and writes a page with a figure. It can be killed at any time; the same
command continues.
"""

import argparse
import shlex
import textwrap
from pathlib import Path

from cnn_arch import cli, command_line, folders
from cnn_arch.errors import UsageError
from cnn_arch.experiments import plan, record, rules
from cnn_arch.experiments.plan import Experiment
from cnn_arch.installation import command
from cnn_arch.screen import Screen
from cnn_arch.sweeps import launch, manifest, session, view

EXAMPLES = """\
  python experiment.py
  python experiment.py relu --data_dir=cifar10_folders
  python experiment.py degradation --size=full --config.precision=bfloat16
  python experiment.py degradation --size=full --executor=slurm --partition=gpu
  python experiment.py degradation --size=full --status
  python experiment.py --report

Without a name, it lists the experiments. --config.KEY=VALUE applies to all runs:
--config.epochs=164 makes a long experiment of a short one. The files in
configs/experiments/ are Python code: run only those that you trust."""

RUNS = Path("runs") / "experiments"
USES = {
    "report": (),
    "status": ("size", "data", "data_dir", "workdir"),
    "name": (
        *("size", "data", "data_dir", "note", "workdir"),
        *("executor", "max_parallel", *session.RESOURCES),
    ),
    "list": (),
}


def main(options: argparse.Namespace, words: list[str], ending: cli.Ending) -> int:
    """Runs the command; returns its exit status."""
    command_line.check_use(options.given, USES, otherwise="list")
    screen = Screen(quiet=options.quiet)
    if options.report:
        return report(Path(options.report), screen)
    if not options.name:
        return list_all(screen)
    experiment = plan.read(options.name)
    data = choose_data(experiment, options, words)
    variants, trials = plan.check(experiment, options.size, data, words)
    workdir = options.workdir or str(RUNS / f"{experiment.name}-{options.size}")
    command_line.check_folder("--workdir", workdir)
    folders.make_new(folders.check_path(Path(workdir)), ending.cleanup)
    plan.check_same(Path(workdir), words, trials)
    sweep = manifest.open_or_make(Path(workdir), words, trials, {}, len(trials))
    executor = session.choose_executor(sweep, options)
    executor.active()  # a cluster that does not answer ends the command here
    is_brief = options.status or session.is_handed_over(sweep)
    hint = "" if is_brief else "   (stop: Ctrl-C, continues later)"
    screen.say("run", f"{view.relative(sweep.workdir)}{hint}")
    say_lines(
        "claim", textwrap.wrap(experiment.claim, 72, break_on_hyphens=False), screen
    )
    active, stopped = session.run_trials(
        sweep, executor, screen, watches=options.status
    )
    if options.status or active or screen.is_terminal:
        view.print_table(sweep, screen)
    view.print_failures(sweep, screen)

    found = record.load(sweep.workdir)
    found = found or record.new(experiment, options.size, own_words(options, words))
    found["note"] = options.note or found["note"]
    record.update(found, experiment, sweep, variants)
    if not found["runs"]:
        screen.say("verdict", "none yet: no run has ended", last=True)
    else:
        say_verdict(experiment, found, screen)
        from cnn_arch.experiments import page

        screen.say("wrote", "  ".join(page.write(experiment, found, sweep.workdir)))
    again = command("experiment", experiment.name, *found["words"])
    if stopped:
        screen.row(f"stopped: {view.counts(sweep)}. Continue: {again}", last=True)
        return 128 + stopped
    left = launch.unfinished(sweep)
    done = command("experiment", "--report")
    cli.say_next(screen, again if active or left else done)
    return 1 if left and not options.status else 0


def choose_data(
    experiment: Experiment, options: argparse.Namespace, words: list[str]
) -> str:
    """Returns what follows the colon of the recipes; adds the folder to ``words``.

    Raises:
      UsageError: the experiment needs a folder, or a word names a recipe.
    """
    if any(word.startswith("--config=") or word == "--config" for word in words):
        raise UsageError("--config: an experiment has its recipes; leave it out")
    if experiment.data == "photographs" and not options.data_dir:
        raise UsageError(
            "--data_dir=DIR: must be given; a folder of photographs, DIR/CLASS/*.jpg "
            "(docs/pictures.md)"
        )
    if options.data_dir:
        words.append(f"--config.data.dir={Path(options.data_dir).absolute()}")
    return options.data or ("folder" if options.data_dir else experiment.data)


def say_verdict(experiment: Experiment, found: record.Record, screen: Screen) -> None:
    """Prints each comparison of the rule, and the verdict."""
    from cnn_arch.experiments import page

    verdict, outcomes = rules.decide(experiment.rule, record.numbers(found))
    lines = []
    for pair in zip(experiment.rule, outcomes, strict=True):
        lines += textwrap.wrap(page.describe(*pair), 70, subsequent_indent="  ")
    say_lines("rule", lines, screen)
    screen.say("verdict", verdict, last=True)


def say_lines(label: str, lines: list[str], screen: Screen) -> None:
    """Prints lines, the label before the first."""
    for number, line in enumerate(lines):
        screen.say("" if number else label, line)


def own_words(options: argparse.Namespace, words: list[str]) -> list[str]:
    """Returns the words of this command, with which it continues."""
    keys = "size", "data", "data_dir", "workdir"
    given = [f"--{key}={options.given[key]}" for key in keys if key in options.given]
    settings = [each for each in words if not each.startswith("--config.data.dir=")]
    return given + settings


def list_all(screen: Screen) -> int:
    """Lists the experiments: minutes on two cores, verdict here, claim."""
    screen.row(f"{'experiment':<16}{'minutes':<9}{'full':<9}here")
    for experiment in plan.read_all():
        times = [experiment.sizes[size].minutes for size in plan.SIZES]
        shown = ["" if each is None else f"{each:g} min" for each in times]
        state = "not run"
        for size in plan.SIZES:
            if found := record.load(RUNS / f"{experiment.name}-{size}"):
                verdict, _ = rules.decide(experiment.rule, record.numbers(found))
                state = f"{verdict} ({size})"
        screen.row(f"{experiment.name:<16}{shown[0]:<9}{shown[1]:<9}{state}")
        for line in textwrap.wrap(experiment.claim, 72, break_on_hyphens=False):
            screen.row(f"    {line}")
    cli.say_next(screen, command("experiment", plan.read_all()[0].name))
    return 0


def report(target: Path, screen: Screen) -> int:
    """Writes the page of all experiments."""
    from cnn_arch.experiments import page

    command_line.check_folder("--report", str(target))
    path, count = page.write_report(RUNS, target)
    if not count:
        raise UsageError(
            f"--report={target}: no experiment has been run here; run one first: "
            + command("experiment", plan.read_all()[0].name)
        )
    screen.say("wrote", f"{shlex.quote(str(path))}   ({count} experiments)", last=True)
    return 0


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
        const=str(RUNS),
        metavar="DIR",
        help="write lectures.md of all experiments; default in runs/experiments",
    )
    cli.run(main, parser, needs_words=False)

"""A sweep on the screen: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cnn_arch.installation import command
from cnn_arch.screen import PLAIN_INTERVAL_SECONDS, Screen, careful, printable
from cnn_arch.settings import own_recipe
from cnn_arch.sweeps import progress, results, space
from cnn_arch.sweeps.manifest import ACTIVE, STATES, Sweep

HEADER = "trial     state      epoch   error  lowest  settings"
NUM_TRACE_LINES = 12  # from the end of a traceback, where the error is


def table(sweep: Sweep, *, active_first: bool = False) -> list[str]:
    """Returns a line for each trial: state, epoch, errors in percent, settings."""
    lines, trials = [HEADER], sweep.trials
    if active_first:
        trials = sorted(trials, key=lambda trial: trial.state not in ACTIVE)
    for trial in trials:
        errors = progress.read_errors(sweep.path(trial))
        length = progress.num_epochs(sweep.path(trial))
        epoch = f"{max(errors, default=0):.4g}/{length:.4g}" if length else ""
        last = f"{errors[max(errors)]:.2f}" if errors else ""
        lowest = f"{min(errors.values()):.2f}" if errors else ""
        settings = printable(space.describe(trial.overrides))
        lines.append(
            f"{trial.name:<9} {trial.state:<8} {epoch:>7}  {last:>6}  {lowest:>6}  "
            f"{settings}"
        )
    return lines


def counts(sweep: Sweep) -> str:
    """Writes the number of trials in each state."""
    found = Counter(trial.state for trial in sweep.trials)
    found["waiting"] += sweep.num_trials - len(sweep.trials)
    return ", ".join(f"{found[state]} {state}" for state in STATES if found[state])


@contextmanager
def display(screen: Screen) -> Iterator[Callable[[Sweep], None]]:
    """Yields a function that shows the current state of a sweep, to call repeatedly."""
    if screen.is_terminal:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(file=careful(sys.stdout))
        with Live(console=console, auto_refresh=False, transient=True) as live:

            def draw(sweep: Sweep) -> None:
                # A terminal may be too short for all trials: show active ones first.
                lines = [counts(sweep), "", *table(sweep, active_first=True)]
                text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
                live.update(text, refresh=True)

            yield draw
        return
    states: dict[str, str] = {}
    last = time.monotonic()

    def print_changes(sweep: Sweep) -> None:
        nonlocal last
        is_due = time.monotonic() - last > PLAIN_INTERVAL_SECONDS
        for trial, line in zip(sweep.trials, table(sweep)[1:], strict=True):
            is_new = states.get(trial.name, "waiting") != trial.state
            if is_new or (is_due and trial.state == "running"):
                screen.row(line)
            states[trial.name] = trial.state
        last = time.monotonic() if is_due else last

    screen.row(HEADER)
    yield print_changes


def print_failures(sweep: Sweep, screen: Screen) -> None:
    """Prints why trials failed or diverged, with the end of a traceback if any."""
    for trial in sweep.trials:
        if trial.state not in ("failed", "diverged"):
            continue
        screen.row()
        settings = printable(space.describe(trial.overrides))
        screen.say(trial.state, f"{trial.name}  {settings}")
        lines = progress.failure(sweep, trial).splitlines()
        for line in lines[-NUM_TRACE_LINES:]:
            screen.say("", printable(line, 400))


def print_table(sweep: Sweep, screen: Screen) -> None:
    """Prints a line for each trial, and the number of trials in each state."""
    screen.row()
    for line in table(sweep):
        screen.row(line)
    screen.row()
    screen.say("trials", counts(sweep))


def print_best(sweep: Sweep, screen: Screen) -> None:
    """Prints the finished trial with the lowest validation error."""
    if best := results.best(sweep):
        row = results.row(sweep, best)
        test = row["test_top1_error"]
        tested = "" if test is None else f", test {test:.2f} %"
        error = f"{row[results.ERROR]:.2f} % validation error{tested}"
        settings = printable(space.describe(best.overrides))
        screen.say("best", f"{best.name}: {error}   {settings}", last=True)


def own_command(sweep: Sweep, option: str) -> str:
    """Returns the command to paste for this sweep with --status or --resume."""
    return command("sweep", f"--workdir={relative(sweep.workdir)}", option)


def next_commands(sweep: Sweep, is_active: bool, is_unfinished: bool) -> list[str]:
    """Returns the commands that may follow, to paste."""
    commands = []
    if is_active:
        commands.append(own_command(sweep, "--status"))
    if is_unfinished:
        commands.append(own_command(sweep, "--resume"))
    if best := results.best(sweep):
        workdir = f"--workdir={relative(sweep.path(best))}"
        recipe = own_recipe(sweep.words)
        commands.append(command("eval", workdir, *recipe, "--split=validation"))
    return commands or [own_command(sweep, "--status")]


def relative(path: Path) -> Path:
    """Returns the path relative to the working directory, if it is below that."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

"""A sweep on the screen: a live table on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cnn_arch.installation import command
from cnn_arch.screen import PLAIN_INTERVAL_SECONDS, Screen, printable
from cnn_arch.settings import own_recipe
from cnn_arch.sweeps import progress, results, space
from cnn_arch.sweeps.manifest import ACTIVE, STATES, Sweep

HEADER = "trial     state      epoch   error   least  settings"
NUM_TRACE_LINES = 12  # of a traceback: its end says what happened


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
        least = f"{min(errors.values()):.2f}" if errors else ""
        settings = printable(space.describe(trial.overrides))
        lines.append(
            f"{trial.name:<9} {trial.state:<8} {epoch:>7}  {last:>6}  {least:>6}  "
            f"{settings}"
        )
    return lines


def counts(sweep: Sweep) -> str:
    """Writes how many trials there are of each state."""
    found = Counter(trial.state for trial in sweep.trials)
    found["waiting"] += sweep.num_trials - len(sweep.trials)
    return ", ".join(f"{found[state]} {state}" for state in STATES if found[state])


@contextmanager
def shown(screen: Screen) -> Iterator[Callable[[Sweep], None]]:
    """Gives a function that shows how a sweep stands, as often as it is called."""
    if screen.is_terminal:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        with Live(console=Console(), auto_refresh=False, transient=True) as live:

            def draw(sweep: Sweep) -> None:
                # A terminal may be too low for all: those at work come first.
                lines = [counts(sweep), "", *table(sweep, active_first=True)]
                text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
                live.update(text, refresh=True)

            yield draw
        return
    states: dict[str, str] = {}
    last = time.monotonic()

    def tell(sweep: Sweep) -> None:
        nonlocal last
        is_due = time.monotonic() - last > PLAIN_INTERVAL_SECONDS
        for trial, line in zip(sweep.trials, table(sweep)[1:], strict=True):
            is_new = states.get(trial.name, "waiting") != trial.state
            if is_new or (is_due and trial.state == "running"):
                screen.row(line)
            states[trial.name] = trial.state
        last = time.monotonic() if is_due else last

    screen.row(HEADER)
    yield tell


def tell_failures(sweep: Sweep, screen: Screen) -> None:
    """Shows why trials failed, with the end of the traceback where there is one."""
    for trial in sweep.trials:
        if trial.state != "failed":
            continue
        screen.row()
        screen.say(
            "failed", f"{trial.name}  {printable(space.describe(trial.overrides))}"
        )
        lines = progress.failure(sweep, trial).splitlines()
        for line in lines[-NUM_TRACE_LINES:]:
            screen.say("", printable(line, 120))


def tell_table(sweep: Sweep, screen: Screen) -> None:
    """Shows every trial in a line, and how many there are of each state."""
    screen.row()
    for line in table(sweep):
        screen.row(line)
    screen.row()
    screen.say("trials", counts(sweep))


def tell_best(sweep: Sweep, screen: Screen) -> None:
    """Names the finished trial of least validation error."""
    if best := results.best(sweep):
        row = results.row(sweep, best)
        test = row["test_top1_error"]
        tested = "" if test is None else f", test {test:.2f} %"
        error = f"{row[results.ERROR]:.2f} % validation error{tested}"
        settings = printable(space.describe(best.overrides))
        screen.say("best", f"{best.name}: {error}   {settings}", last=True)


def again(sweep: Sweep, option: str) -> str:
    """Returns the command that takes the sweep up again, to be pasted."""
    return command("sweep", f"--workdir={relative(sweep.workdir)}", option)


def next_commands(sweep: Sweep, is_active: bool, is_unfinished: bool) -> list[str]:
    """Returns what may follow, to be pasted."""
    commands = []
    if is_active:
        commands.append(again(sweep, "--status"))
    if is_unfinished:
        commands.append(again(sweep, "--resume"))
    if best := results.best(sweep):
        workdir = f"--workdir={relative(sweep.path(best))}"
        recipe = own_recipe(sweep.words)
        commands.append(command("eval", workdir, *recipe, "--split=validation"))
    return commands or [again(sweep, "--status")]


def relative(path: Path) -> Path:
    """Returns a path as short as it can be pasted here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

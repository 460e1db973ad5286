"""experiment.py as a user runs it."""

import json
import signal
import subprocess
import time

import pytest

from tests import commands
from tests.commands import LIMIT_SECONDS, ROOT, call, environment, error_line

FILE = '''"""Tried on digits."""


def get_experiment():
    size = {"seeds": 2, "settings": {"epochs": 1.0}}
    return {
        "claim": "The LeNet of d2l has more parameters than LeNet-5.",
        "sources": ["arithmetic"],
        "data": "mnist5k",
        "variants": {"d2l": {"config": "lenet"}, "paper": {"config": "lenet5"}},
        "settings": {},
        "sizes": {"minutes": size, "full": size},
        "measures": ["parameters", "steps_to_training_error:50"],
        "rule": {"every": [{
            "scale": "difference", "measure": "parameters", "first": "d2l",
            "second": "paper", "above": 0, "below": None,
        }]},
        "figure": "dots",
        "caveats": "None.",
    }
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tried.py"
    path.write_text(FILE)
    return path


def test_without_a_name_it_lists_the_experiments(tmp_path):
    result = call("experiment.py", cwd=tmp_path)
    assert result.returncode == 0
    assert "degradation" in result.stdout and "not run" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["degredation"], "did you mean degradation?"),
        (["relu", "--config=resnet20"], "an experiment has its recipes; leave it out"),
        (["relu", "--size=hours"], "must be one of minutes, full, not hours"),
        (["--size=full"], "goes with --"),
        (["relu", "--report"], "has no effect with --report; leave one of them out"),
        (["relu", "--status"], "relu-minutes has no runs; start them: python exp"),
        (["--status"], "NAME: must be given with --status"),
        (["--report"], "no experiment has been run here"),
    ],
)
def test_mistakes_end_with_one_line(words, message, tmp_path):
    result = call("experiment.py", *words, cwd=tmp_path)
    assert message in error_line(result, 2)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.slow
def test_an_experiment_that_is_stopped_continues_to_its_verdict(file, tmp_path):
    workdir = tmp_path / "out"
    words = str(file), "--executor=local", f"--workdir={workdir}"
    process = subprocess.Popen(
        commands.command("experiment.py", *words),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    limit = time.monotonic() + LIMIT_SECONDS
    while not (workdir / "trial-01" / "metrics.csv").exists():
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 130 and "Continue: python experiment.py" in output
    measured = json.loads((workdir / "experiment.json").read_text())["runs"]
    assert "trial-00" in measured and len(measured) < 4

    other = commands.run("experiment.py", *words, "--config.epochs=2")
    assert "has runs with other settings" in error_line(other, 2)
    result = commands.run("experiment.py", *words)
    assert result.returncode == 0, result.stderr
    assert "verdict  holds" in result.stdout
    stored = json.loads((workdir / "experiment.json").read_text())["runs"]
    assert stored["trial-00"] == measured["trial-00"]
    assert [run["variant"] for run in stored.values()] == 2 * ["d2l", "paper"]
    page = (workdir / "README.md").read_text()
    assert "# tried: holds" in page and "over " in page
    assert "| paper | 6.085e+04 (6.085e+04 to 6.085e+04) | " in page
    assert (workdir / "figure.png").stat().st_size > 10_000

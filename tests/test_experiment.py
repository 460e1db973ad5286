"""experiment.py as a user runs it."""

import json
import re
import signal
import time

import pytest

from cnn_arch import installation
from tests import commands
from tests.commands import LIMIT_SECONDS, call, error_line
from tests.runs import rows

FILE = '''"""Tried on digits."""


def get_experiment():
    size = {"seeds": 2, "settings": {"epochs": 1.0}}
    return {
        "claim": "The LeNet of d2l has more parameters than LeNet-5.",
        "sources": ["arithmetic"],
        "data": "mnist5k",
        "variants": {
            "d2l": {"config": "lenet"},
            "paper": {"config": "lenet5"},
            "wild": {"config": "lenet5", "optim.learning_rate": 1e38},
        },
        "settings": {"log.layer_gradients": True},
        "sizes": {"minutes": size, "full": size},
        "measures": [
            "parameters", "training_error", "steps_to_training_error:50",
            "gap_of_trained", "ensemble_error:2",
        ],
        "group": 2,
        "series": ["layer_gradients:first_step"],
        "rule": [{
            "scale": "difference", "measure": "parameters", "first": "d2l",
            "second": "paper", "above": 0, "below": None,
        }],
        "figure": "layers",
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
    verdict = "(?:holds|does not hold|not decided at this size|not run)"
    rows = re.findall(rf"^(\w+) .*\b{verdict}(?: \(|$)", result.stdout, re.MULTILINE)
    assert rows == installation.experiments()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["degredation"], "did you mean degradation?"),
        (["relu", "--config=resnet20"], "an experiment has its recipes; leave it out"),
        (["relu", "--size=hours"], "must be one of minutes, full, not hours"),
        (["--size=full"], "goes with --"),
        (["relu", "--report"], "has no effect with --report; leave one of them out"),
        (["relu", "--status"], "relu-minutes has no runs; start them: python exp"),
        (["time_and_energy", "--data_dir=x"], "time_and_energy has no data; leave it"),
        (["--status"], "NAME: must be given with --status"),
        (["--report"], "no experiment has been run here"),
        (["lrn", "--data_dir=nowhere"], "nowhere: no such folder; give one with CLASS"),
    ],
)
def test_mistakes_end_with_one_line(words, message, tmp_path):
    result = call("experiment.py", *words, cwd=tmp_path)
    assert message in error_line(result, 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_experiment_that_is_stopped_continues_to_its_verdict(file, tmp_path):
    workdir = tmp_path / "out"
    words = str(file), "--executor=local", f"--workdir={workdir}"
    process = commands.start("experiment.py", *words)
    limit = time.monotonic() + LIMIT_SECONDS
    while not (workdir / "trial-01" / "metrics.csv").exists():
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 130 and "Continue: python experiment.py" in output
    measured = json.loads((workdir / "experiment.json").read_text())["runs"]
    assert "trial-00" in measured and len(measured) < 6

    other = commands.run("experiment.py", *words, "--config.epochs=2")
    assert "has runs with other settings" in error_line(other, 2)
    result = commands.run("experiment.py", *words)
    assert result.returncode == 0, result.stderr
    assert "verdict  holds" in result.stdout
    assert "diverged 2 of 6 runs" in result.stdout
    stored = json.loads((workdir / "experiment.json").read_text())["runs"]
    assert stored["trial-00"] == measured["trial-00"]
    results = json.loads((workdir / "trial-00" / "eval" / "results.json").read_text())
    errors = [results[split]["top1_error"] for split in ("test", "train")]
    assert results["train"]["num_examples"] == 3500
    assert stored["trial-00"]["numbers"]["gap_of_trained"] == errors[0] - errors[1]
    assert [run["variant"] for run in stored.values()] == 2 * ["d2l", "paper", "wild"]
    groups = json.loads((workdir / "experiment.json").read_text())["groups"]
    first, _ = groups.values()
    pair = [f"--workdir={workdir / f'trial-0{number}'}" for number in (0, 3)]
    answer = json.loads(call("eval.py", *pair, "--json", cwd=tmp_path).stdout)
    assert first["numbers"]["ensemble_error:2"] == answer["test"]["top1_error"]
    page = (workdir / "README.md").read_text()
    assert "# tried: holds" in page and "over " in page
    assert "| paper | 60,850 | " in page
    # The planned epoch has 3,500 images in batches of 64: 54 steps.
    lost = "unavailable | unavailable | 0, 2 runs diverged |"
    assert f"| wild | 60,850 | 90 | over 54 | {lost}" in page
    assert re.search(r"trial-02 \(wild, seed 0\), \w+ is \w+ at step \d", page)
    trials = json.loads((workdir / "manifest.json").read_text())["trials"]
    states = [trial["state"] for trial in trials]
    assert states == 2 * ["done", "done", "diverged"]
    assert (workdir / "figure.png").stat().st_size > 10_000


IDENTITY = '''"""Blocks that stay the identity, as nothing is learnt."""

from configs.experiments import identity


def get_experiment():
    found = identity.get_experiment()
    *_, (name, own) = found["variants"].items()
    size = {"seeds": 1, "settings": {"epochs": 1.0, "batch_size": 32}}
    size["settings"]["optim.learning_rate"] = 1e-9
    found["variants"] = {name: own | {"config": "resnet20"}}
    return found | {"rule": [], "sizes": {"minutes": size, "full": size}}
'''


@pytest.mark.slow
def test_the_responses_of_blocks_that_are_the_identity_are_zero(photos, tmp_path):
    """The last layer of a block responds with zero; the first one as any layer."""
    file, workdir = tmp_path / "tried.py", tmp_path / "out"
    file.write_text(IDENTITY)
    words = file, f"--data_dir={photos}", "--executor=local", f"--workdir={workdir}"
    result = commands.run("experiment.py", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    record = json.loads((workdir / "experiment.json").read_text())
    run = record["runs"]["trial-00"]
    layers = run["series"]["responses"]
    assert len(layers) == 19
    first = [value for name, value in layers.items() if name.endswith("conv1")]
    last = [value for name, value in layers.items() if name.endswith("conv2")]
    assert min(first) > 0.1 and max(last) < 1e-6
    assert run["numbers"]["response:largest"] == max(first)
    assert run["numbers"]["response:mean"] == pytest.approx(sum(first + last) / 19)
    losses = rows(workdir / "trial-00" / "steps.csv")
    assert run["numbers"]["first_loss"] == float(losses[0]["loss"])

"""The arithmetic, workers and networks of the benchmarks; no test measures."""

import json
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from benchmarks import accuracy, plain_flax, rounds
from benchmarks import worker as workers
from cnn_arch.costs.layers import layer_costs
from tests.models.conftest import num_params
from tests.paper_tables import AUX_PARAMS, TOTALS

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def run(name: str, word: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), word]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    "name",
    "train_step loader compile startup whole_run augmentation protocols "
    "precision gpu".split(),
)
def test_help_works_without_any_peer(name):
    result = run(name, "--help")
    assert result.returncode == 0, result.stderr
    assert f"python benchmarks/{name}.py" in result.stdout


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("train_step", "--networks=resnet21"),
        ("train_step", "--precision=bf16"),
        ("compile", "--network=resnet20"),
        ("augmentation", "--steps=mixing"),
        ("gpu", "--networks=resnet21"),
    ],
)
def test_a_wrong_option_is_refused(name, word):
    result = run(name, word)
    assert result.returncode == 2
    assert word.partition("=")[2] in result.stderr


def test_summary_is_median_minimum_and_maximum():
    summary = rounds.summarize([3.0, 1.0, 2.0, 10.04, 2.5])
    assert summary == {"median": 2.5, "min": 1.0, "max": 10.0}


def test_ratio_compares_medians_and_its_spread_single_rounds():
    ratio, spread = rounds.compare([10.0, 20.0, 30.0], [5.0, 40.0, 10.0])
    assert ratio == 2.0  # 20 / 10
    assert spread == [0.5, 3.0]


@pytest.mark.parametrize(
    ("call_seconds", "at_least", "expected"),
    [(0.3, 1.0, 4), (0.5, 1.0, 2), (7.0, 1.0, 1)],
)
def test_calls_fill_the_seconds(call_seconds, at_least, expected):
    assert rounds.num_calls(call_seconds, at_least) == expected


def test_sides_take_turns():
    order: list[str] = []
    turns = {side: partial(order.append, side) for side in ("ours", "peer")}
    rounds.take_turns(turns, 2, "test")
    assert order == ["ours", "peer", "ours", "peer"]


def test_results_of_one_day_are_not_overwritten(tmp_path):
    day = time.strftime("%Y-%m-%d", time.gmtime())
    for number in ("", "-2", "-3"):
        path = rounds.result_path("loader", None, tmp_path)
        assert path.name == f"loader-{day}{number}.json"
        rounds.write(path, {"rows": []})
    assert json.loads(path.read_text()) == {"rows": []}


WORKER = """
import time
from worker import serve
def prepare(case):
    print("a library's chatter")
    if case["fails"]:
        raise ValueError("no such case")
    return {"seen": case}, {"sleep": lambda: time.sleep(case["seconds"])}
serve(prepare)
"""


@pytest.fixture
def worker() -> Iterator[rounds.Worker]:
    command = [sys.executable, "-c", WORKER]
    with closing(rounds.Worker(command, PYTHONPATH=str(BENCHMARKS))) as worker:
        yield worker


def test_worker_times_its_passes(worker):
    case = {"fails": False, "seconds": 0.05}
    facts = worker.ask(case)
    assert facts["seen"] == case
    assert 0.05 <= facts["call_seconds"]["sleep"]
    answer = worker.ask({"pass": "sleep", "num_calls": 4})
    assert 0.2 <= answer["seconds"]
    assert answer["cpu_seconds"] < 0.1  # it sleeps


@pytest.mark.parametrize(("limit_seconds", "expected"), [(10, 8), (1e-9, 2)])
def test_short_work_warms_up_longer(limit_seconds, expected, monkeypatch):
    monkeypatch.setattr(workers, "WARMUP_SECONDS", limit_seconds)
    calls = []
    seconds = workers.warm_up(lambda: calls.append(time.sleep(0.01)))
    assert len(calls) == expected
    assert 0.01 <= seconds < 1


def test_worker_reports_its_error(worker):
    with pytest.raises(rounds.WorkerError, match=r"^ValueError: no such case$"):
        worker.ask({"fails": True, "seconds": 0})


def test_worker_that_takes_too_long_is_ended(worker):
    with pytest.raises(rounds.WorkerError, match=r"no answer in 0.5 s"):
        worker.ask({"fails": False, "seconds": 30}, limit_seconds=0.5)


PLAIN = ("alexnet_owt", "vgg16", "googlenet_bn", "resnet18", "resnet50", "resnet56")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in PLAIN]


@pytest.mark.parametrize("name", ["alexnet", "resnet20", *SLOW])
def test_the_plain_networks_are_the_papers(name):
    # torchvision's resnet50, the other side of the comparison, is v1.5.
    totals = TOTALS["resnet50_v1_5" if name == "resnet50" else name]
    params, macs, image_size, channels, num_classes = totals
    model = plain_flax.make_network(name, num_classes, jnp.bfloat16)
    image = jax.ShapeDtypeStruct((1, image_size, image_size, channels), jnp.float32)
    variables = jax.eval_shape(
        partial(model.init, train=False), jax.random.key(0), image
    )
    assert num_params(variables["params"]) == params
    rows = layer_costs(model, image_size, channels)
    assert sum(row.macs for row in rows) == macs


@pytest.mark.slow
def test_auxiliary_heads_exist_only_in_training():
    model = plain_flax.make_network("googlenet_bn", 1000, jnp.bfloat16)
    image = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    keys = {name: jax.random.key(0) for name in ("params", "dropout")}
    variables = jax.eval_shape(partial(model.init, train=True), keys, image)
    heads = {k: v for k, v in variables["params"].items() if k.startswith("Aux")}
    assert num_params(heads) == AUX_PARAMS["googlenet_bn"]
    outputs = jax.eval_shape(partial(model.apply, train=False), variables, image)
    assert [output.shape for output in outputs] == [(2, 1000)]


def test_start_up_reads_the_first_step_off_the_screen(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    read_marks = runpy.run_path(str(BENCHMARKS / "startup.py"))["read_marks"]
    marks: dict[str, float] = {}
    text = "run      runs/a\r\ndevice   cpu\r\ncompile  training step ...\r"
    read_marks(text, 1.0, marks)
    assert marks == {"run": 1.0, "device": 1.0, "compile": 1.0}
    text += "epoch  train loss\r\nepoch 1   \x1b[38;5;237m----\x1b[0m  0/54 loss 2.30"
    read_marks(text, 2.0, marks)
    assert marks["epoch"] == 2.0 and "first_step" not in marks
    read_marks(text + "\repoch 1   \x1b[1m----\x1b[0m  1/54 loss 2.30", 3.0, marks)
    assert marks["first_step"] == 3.0 and marks["run"] == 1.0


def a_run(error, validation):
    curve = [[1.0, 50.0, 60.0], [2.0, 20.0, validation]]
    facts = {"num_test_images": 100, "epochs": 2.0, "minutes": 3.0, "commit": "abc"}
    facts["machine"] = "a processor, 2 cores"
    return facts | {"test_error": error, "other_tests": {}, "curve": curve}


def test_fine_tuning_starts_from_a_run_that_is_made():
    words = accuracy.words_of("fine_tuning", "fine-tuned", 0)
    (start,) = [word for word in words if word.startswith("--init_from=")]
    made = [workdir for *_, workdir in accuracy.runs_of("resnet20")]
    assert [accuracy.rounds.ROOT / start.partition("=")[2]] == made


def test_the_errors_in_the_readme_are_on_the_page_of_results():
    readme = (accuracy.rounds.ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## Results")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    page = accuracy.PAGE.read_text(encoding="utf-8")
    assert len(rows) >= 5
    for name, _, epochs, error, _ in rows:
        found = re.search(rf"^\|.* {re.escape(error)} .*$", page, re.M)
        assert found, f"{name}: {error}"
        lengths = [float(cell) for cell in re.findall(r" (\d+\.?\d*) (?=\|)", found[0])]
        assert int(epochs) in map(round, lengths), f"{name}: {epochs} epochs"


def test_the_page_of_results_is_made_from_the_record():
    """``python -m benchmarks.accuracy --page`` writes it."""
    record = json.loads(accuracy.RECORD.read_text())
    assert accuracy.PAGE.read_text(encoding="utf-8") == accuracy.page(record)
    for name in record["runs"]:
        assert (accuracy.PAGE.parent / "results" / f"{name}.png").exists()


def test_results_show_the_papers_protocol_and_ensembles():
    runs = {str(seed): a_run(error, 30.0) for seed, error in enumerate([5.0, 3.0])}
    runs["0"]["other_tests"] = {"ten_crop": 4.0}
    rows = [
        {"protocol": "ten_crop: ...", "errors": [4.0, 2.5], "mean_error": 2.0},
    ]
    record: dict[str, Any] = {"runs": {"cuda_convnet": {"with LRN": runs}}}
    record["ensembles"] = {"cuda_convnet": {"with LRN": rows}}
    page = accuracy.page(record)
    assert "| recipe | test error | ten crop | seeds |" in page
    assert "| with LRN | 4.00 % ± 1.41 (3.00 to 5.00) | 4.00 % | 2 |" in page
    assert "| 2 of with LRN | ten_crop: ... | 2.50 to 4.00 % | 2.00 % |" in page


def test_results_have_the_mean_and_the_spread_of_the_seeds():
    runs = {str(seed): a_run(error, 30.0) for seed, error in enumerate([1.0, 2.0, 6.0])}
    page = accuracy.page({"runs": {"lenet": {"lenet5": runs}}})
    # Deviations from 3: -2, -1, 3; their squares sum to 14, and 14 / 2 is 2.65 squared.
    assert "| lenet5 | 3.00 % ± 2.65 (1.00 to 6.00) | 3 | 2 | 3.0 | `abc` |" in page
    assert "Machine: a processor, 2 cores." in page
    assert "Not run yet: lenet5, distorted images, lenet" in page
    assert "python train.py --config=configs/lenet.py:mnist --config.seed=0" in page


def test_a_result_names_the_commit_that_changed_the_program(tmp_path, monkeypatch):
    def git(*words):
        name = ("-c", "user.name=a", "-c", "user.email=a@b")
        words = ["git", *name, *words]
        ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    git("init", "-q")
    commits = []
    for file in ("train.py", "README.md"):
        (tmp_path / file).write_text(file)
        git("add", file)
        git("commit", "-qm", file)
        commits.append(git("rev-parse", "--short=12", "HEAD"))
    monkeypatch.setattr(accuracy.rounds, "ROOT", tmp_path)
    assert accuracy.of_program(commits[1]) == commits[0]
    assert accuracy.of_program(f"{commits[1]}-dirty") == f"{commits[1]}-dirty"

"""Ensembles, compared with means of probabilities by hand."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnn_arch import settings
from cnn_arch.data.bundled import ArraySource
from cnn_arch.errors import RunError, UsageError
from cnn_arch.evaluation import ensemble, prediction, protocols
from cnn_arch.evaluation.ensemble import Member
from cnn_arch.evaluation.network import Network
from cnn_arch.models import create_model
from cnn_arch.parallel.mesh import make_mesh
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from tests.models.conftest import drawn_variables

NAMES = tuple("0123456789")
NOISE = np.random.default_rng(0)
LABELS = NOISE.integers(0, 10, 13).astype(np.int32)
SOURCE = ArraySource(
    NOISE.integers(0, 256, (13, 40, 36, 3)).astype(np.uint8),
    LABELS,
    [f"noise {i}" for i in range(13)],
)
MODEL = create_model("lenet5", 10)
VARIABLES = drawn_variables(MODEL, 32, 3)


def member_of(factor, source=SOURCE, names=NAMES, num_devices=1, **given):
    """LeNet-5 with kernels times a factor, and an evaluator of some protocol."""
    words = ["--config=lenet5:folder", "--config.batch_size=8"]
    words += ["--config.data.mean=120,120,120", "--config.data.std=60,60,60"]
    config = settings.derive(settings.parse(words)[0], {"data.eval_resize": 36})
    variables = VARIABLES | {"params": _scaled(VARIABLES["params"], factor)}
    origin = {"checkpoint_step": round(100 * factor)}
    network = Network(MODEL, variables, names, origin, config)
    protocol = protocols.of_options(given, config)
    screen = Screen(quiet=True)
    mesh = make_mesh(num_devices, 1)
    evaluator = protocols.make_evaluator(protocol, network, mesh, screen)
    dataset: Any = SimpleNamespace(splits={"test": source}, class_names=names)
    return Member(evaluator, network, dataset, "test", Run(Path("runs/a"), screen))


def _scaled(params, factor):
    return {
        layer: {key: np.float32(factor) * x for key, x in arrays.items()}
        for layer, arrays in params.items()
    }


@pytest.fixture(scope="module")
def members():
    """The predictions of three networks, one of them by ten crops on eight devices."""
    return [
        member_of(1.0).predict(),
        member_of(2.0).predict(),
        member_of(1.5, protocol="ten_crop", num_devices=8).predict(),
    ]


def test_an_ensemble_is_the_mean_of_the_probabilities(members):
    average, facts = prediction.mean(iter(members))
    by_hand = np.mean([np.exp(np.float64(x.log_probability)) for x in members], axis=0)
    np.testing.assert_allclose(np.exp(average.log_probability), by_hand, rtol=1e-5)
    np.testing.assert_allclose(by_hand.sum(axis=1), 1, rtol=1e-5)
    results = average.results()
    np.testing.assert_array_equal(results.prediction, by_hand.argmax(axis=1))
    loss = -np.log(by_hand[np.arange(13), LABELS])
    np.testing.assert_allclose(results.loss, loss, rtol=1e-4)
    assert [each["checkpoint_step"] for each in facts] == [100, 200, 150]
    assert average.facts == {"protocol": "mean of 3 networks", "members": facts}


@pytest.mark.parametrize("given", [{}, {"protocol": "ten_crop", "combine": "logits"}])
def test_an_ensemble_of_one_is_its_member(given):
    member = member_of(1.0, **given)
    alone = member.evaluator.judge(member.network.variables, SOURCE)
    one = member.predict()
    average, (facts,) = prediction.mean([one])
    results = average.results()
    np.testing.assert_array_equal(results.prediction, alone.prediction)
    np.testing.assert_array_equal(results.rank, alone.rank)
    np.testing.assert_allclose(results.loss, alone.loss, rtol=1e-5)
    assert facts["top1_error"] == alone.summary()["top1_error"]
    assert facts["network"] == "runs/a, step 100"


def test_saved_probabilities_are_averaged_without_networks(members, tmp_path, capsys):
    paths = [str(tmp_path / f"{i}.npz") for i in range(3)]
    for path, member in zip(paths, members, strict=True):
        member.write(tmp_path / path)
    answer = ensemble.evaluate_files(paths, Screen())
    average, _ = prediction.mean(members)
    expected = average.results().summary()
    assert {key: answer[key] for key in expected} == expected
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("   ")[-1] for line in lines[2:]] == [
        f"{paths[0]}: {members[0].facts['protocol']}",
        f"{paths[1]}: {members[1].facts['protocol']}",
        f"{paths[2]}: {members[2].facts['protocol']}",
        "the lowest of each column",
        "the highest of each column",
        "the mean of 3 networks",
    ]
    errors = [float(line.split()[0]) for line in lines[2:5]]
    assert float(lines[5].split()[0]) == min(errors)
    assert float(lines[-1].split()[0]) == pytest.approx(expected["top1_error"], 0.01)


def test_the_errors_of_a_file_are_those_of_its_probabilities(members, tmp_path):
    path = tmp_path / "a.npz"
    dataclasses.replace(members[0], facts={"top1_error": "low"}).write(path)
    read = prediction.read(str(path))
    assert read.facts["top1_error"] == members[0].facts["top1_error"]
    assert read.facts["protocol"] == "unknown protocol"


def test_members_of_other_images_or_classes_are_refused(members):
    first = members[0]
    moved = dataclasses.replace(first, images=(*first.images[1:], first.images[0]))
    with pytest.raises(UsageError, match=r"is of other images than .*: their order"):
        prediction.mean([first, moved])
    part = SOURCE.take(np.arange(9))
    with pytest.raises(UsageError, match=r"other images than .*, such as noise 10;"):
        prediction.mean([first, member_of(2.0, part).predict()])
    relabelled = dataclasses.replace(first, label=first.label[::-1])
    with pytest.raises(UsageError, match="its images have other labels"):
        prediction.mean([first, relabelled])
    renamed = dataclasses.replace(first, class_names=tuple("abcdefghij"))
    with pytest.raises(UsageError, match="has other classes than runs/a, step 100"):
        prediction.mean([first, renamed])


def test_a_network_that_has_diverged_is_refused():
    member = member_of(1.0)
    nan = VARIABLES | {"params": _scaled(VARIABLES["params"], np.nan)}
    network = dataclasses.replace(member.network, variables=nan)
    with pytest.raises(RunError, match="not finite for noise 0"):
        dataclasses.replace(member, network=network).predict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.arange(12)}, "its arrays are of different lengths"),
        ({"label": np.full(13, 10)}, "it has a label of no class"),
        ({"log_probability": np.zeros((13, 9))}, "no probabilities of all images"),
        ({"log_probability": np.full((13, 10), np.nan)}, "is not a number"),
        ({"facts": np.array("[]")}, r"--average_of=.*a\.npz: .*; write it again"),
        ({"label": np.array([{}] * 13)}, "not a file of --save_probabilities"),
    ],
)
def test_files_that_are_refused(members, tmp_path, changes, message):
    path = tmp_path / "a.npz"
    members[0].write(path)
    with np.load(path) as stored:
        arrays = dict(stored) | changes
    np.savez(path, **arrays)
    with pytest.raises(UsageError, match=message):
        prediction.read(str(path))
    content = path.read_bytes()
    for damaged in (b"", content[:-30], b"no zip" + content[6:]):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=r"a\.npz: damaged, or not a file of"):
            prediction.read(str(path))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, label=np.zeros(3))
    with pytest.raises(UsageError, match=r"\(it has no array class_name\)"):
        prediction.read(str(path))
    path.write_text("# no archive")
    with pytest.raises(UsageError, match=r"\(it is no \.npz file\); write it again"):
        prediction.read(str(path))

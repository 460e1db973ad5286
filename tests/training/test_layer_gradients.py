"""The gradient's norm by layer: in the step, in the table, and what is read from it."""

import csv
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import PartitionSpec as P

from cnn_arch import settings
from cnn_arch.data.bundled import ArraySource
from cnn_arch.data.loading import TrainBatches
from cnn_arch.errors import UsageError
from cnn_arch.models import MODELS, create_model
from cnn_arch.models.inspection import kernel_layers
from cnn_arch.models.resnet import CifarResNet
from cnn_arch.parallel.mesh import make_mesh, put_batch
from cnn_arch.run_directory import Run
from cnn_arch.screen import Screen
from cnn_arch.training import layer_gradients, loop
from cnn_arch.training.metrics import Metrics
from cnn_arch.training.program import Program
from tests.models.conftest import drawn_variables
from tests.runs import rows
from tests.training.test_metrics import events

LOG = "--config.log.layer_gradients=true"
LENET = ("C1", "C3", "C5", "F6", "output")


def make_program(*words, num_devices=1, recipe="lenet5:mnist5k"):
    words = f"--config={recipe}", LOG, "--config.batch_size=16", *words
    config, _ = settings.parse(words)
    return Program(config, 10, make_mesh(num_devices, 1), steps_per_epoch=2)


def make_batch(size=32, channels=1):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (16, size, size, channels)).astype(np.uint8)
    return {"image": image, "label": (np.arange(16) % 10).astype(np.int32)}


def first_norms(program, channels=1, start=None):
    """Returns the norm of each layer in the first step, and that of the gradient."""
    batch = put_batch(make_batch(32, channels), program.mesh)
    _, metrics = program.train_step(program.initialise(start), batch)
    _, norms = values = layer_gradients.take_norms(metrics)
    names = ["/".join(layer) for layer in program.logged_layers]
    return dict(zip(names, norms.tolist(), strict=True)), values[0]["gradient_norm"]


@pytest.fixture(scope="module")
def by_hand():
    """The gradient of the cross-entropy, without the training step."""
    program, batch = make_program(), make_batch()
    params = program.initialise().params
    image = (batch["image"].astype(np.float32) - 20.0) / 200.0

    def loss(params):
        apply: Any = create_model("lenet5", 10).apply
        logits = apply({"params": params}, image, train=True)
        chosen = jnp.take_along_axis(logits, batch["label"][:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(logits, axis=1) - chosen).mean()

    return jax.device_get(jax.jit(jax.grad(loss))(params))


@pytest.mark.parametrize(
    ("num_devices", "words"),
    [
        # Clipping and decay come after the norms.
        (1, ("--config.optim.clip_norm=1e-3", "--config.optim.weight_decay=0.1")),
        (8, ()),
        pytest.param(4, ("--config.accumulate=2",), marks=pytest.mark.slow),
    ],
)
def test_the_norms_are_those_of_a_gradient_by_hand(by_hand, num_devices, words):
    found, of_all = first_norms(make_program(*words, num_devices=num_devices))
    expected = {name: np.linalg.norm(by_hand[name]["kernel"]) for name in LENET}
    assert list(found) == list(LENET)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-4)
    total = np.sqrt(sum(np.square(each).sum() for each in jax.tree.leaves(by_hand)))
    np.testing.assert_allclose(of_all, total, rtol=1e-4)


def test_equal_blocks_in_a_loop_have_a_norm_each_also_a_tiny_one():
    random = np.random.default_rng(0).standard_normal((3, 2, 2, 4, 5)) * 1e-25
    kernel = random.astype(np.float32)  # its squares are below float32's numbers
    kernel[1] = 0
    grads = {"conv2_loop": {"conv1": {"kernel": jnp.asarray(kernel)}}}
    specs = {"conv2_loop": {"conv1": {"kernel": P()}}}
    layers = [(f"conv2_{i}", "conv1") for i in (2, 3, 4)]
    found = jax.jit(lambda tree: layer_gradients.norms(tree, specs, layers))(grads)
    expected = np.sqrt(np.square(random).sum(axis=(1, 2, 3, 4)))
    expected[1] = 0
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_split_layer_counts_the_parts_of_all_devices():
    random = np.random.default_rng(0)
    grads = {
        name: {"kernel": random.standard_normal((3, 8)).astype(np.float32)}
        for name in ("fc6", "fc8")
    }
    specs = {"fc6": {"kernel": P(None, "model")}, "fc8": {"kernel": P()}}
    norms = partial(layer_gradients.norms, specs=specs, layers=[("fc6",), ("fc8",)])
    mesh = make_mesh(2, 4)
    found = jax.shard_map(
        norms, mesh=mesh, in_specs=(specs,), out_specs=P(), check_vma=False
    )(grads)
    expected = [np.linalg.norm(grads[name]["kernel"]) for name in grads]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_a_network_with_loops_has_the_norms_of_one_without(monkeypatch):
    monkeypatch.setitem(MODELS, "resnet14", partial(CifarResNet, 14))
    words = "--config.model.name=resnet14", "--config.data.normalisation=channels"
    start = flatten_dict(drawn_variables(CifarResNet(14), 32))
    found = []
    for more in (), ("--config.scan_blocks=true", "--config.remat=true"):
        program = make_program(*words, *more, recipe="resnet20:cifar10")
        found.append(first_norms(program, 3, start)[0])
    assert list(found[0]) == list(found[1]) and len(found[0]) == 14
    one, other = (list(each.values()) for each in found)
    np.testing.assert_allclose(one, other, rtol=1e-3)


@pytest.mark.slow
def test_a_frozen_layer_has_norm_0():
    found, _ = first_norms(make_program("--config.freeze=C1,C3"))
    assert [name for name in found if found[name] == 0] == ["C1", "C3"]


def test_auxiliary_heads_are_last():
    names = ["/".join(x) for x in kernel_layers(create_model("googlenet"), 224, 3)]
    assert names[:3] == ["conv1", "conv2_reduce", "conv2"]
    aux = [f"aux{i}/{layer}" for i in (1, 2) for layer in ("conv", "fc1", "fc2")]
    assert names[-7:] == ["fc", *aux]


COLUMNS = {layer_gradients.FILE: ("conv1", "fc", "aux1/fc")}


def add_steps(metrics, first, last, steps_per_epoch):
    """Adds steps whose norms are their number, and its multiples."""
    values = {"loss": 2.0, "top1_error": 50.0}
    measured = {"images_per_second": 9, "seconds": 1, "input_wait_seconds": 0}
    for step in range(first, last + 1):
        by_layer = np.array([step, 2 * step, 8], np.float32)
        step_values = {**values, "gradient_norm": 1.0, "learning_rate": 0.1}
        metrics.add_step(step, step_values, by_layer)
        if step % steps_per_epoch == 0 or step == last:
            metrics.add_epoch(step, {**values, "top5_error": 9.0}, **measured)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of 2.5 epochs of 54 steps."""
    workdir = tmp_path_factory.mktemp("run")
    (workdir / "plots").mkdir()
    metrics = Metrics(workdir, 0, 54, more_columns=COLUMNS)
    add_steps(metrics, 1, 135, 54)
    metrics.draw(last=True)
    metrics.close()
    return workdir


def test_the_first_steps_have_rows_then_one_in_ten_and_the_last_of_an_epoch(workdir):
    table = rows(workdir / layer_gradients.FILE)
    steps = [int(row["step"]) for row in table]
    assert steps == [*range(1, 101), 108, 110, 120, 130, 135]
    assert table[100] == {"step": "108", "conv1": "108.0", "fc": "216.0"} | {
        "aux1/fc": "8.0"
    }
    assert (workdir / "plots" / "layer_gradients.png").stat().st_size > 1000


def test_what_is_read_from_a_table(workdir):
    assert layer_gradients.at_first_step(workdir) == {
        "conv1": 1.0,
        "fc": 2.0,
        "aux1/fc": 8.0,
    }
    assert layer_gradients.mean_of_epoch(workdir, 1)["conv1"] == 27.5  # of 1 to 54
    last = np.mean([110, 120, 130, 135])
    assert layer_gradients.mean_of_epoch(workdir)["conv1"] == last
    numbers = layer_gradients.measure(workdir)
    assert numbers == {
        "first_step_first_layer": 1.0,
        "first_step_last_layer": 2.0,
        "first_step_ratio": 0.5,
        "last_epoch_first_layer": last,
        "last_epoch_last_layer": 2 * last,
        "last_epoch_ratio": 0.5,
    }
    with pytest.raises(UsageError, match="has no row of epoch 7"):
        layer_gradients.mean_of_epoch(workdir, 7)


def test_tensorboard_has_the_mean_of_each_epoch(workdir):
    found = {
        event.step: value.simple_value
        for event in events(workdir)
        for value in event.summary.value
        if value.tag == "layer_gradients/conv1"
    }
    rows_of_second = [*range(55, 101), 108]
    assert found[54] == 27.5 and list(found) == [54, 108, 135]
    np.testing.assert_allclose(found[108], np.mean(rows_of_second), rtol=1e-6)


def test_a_run_without_a_table_or_without_its_start_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none; train with --config\.log"):
        layer_gradients.measure(tmp_path)
    (tmp_path / layer_gradients.FILE).write_text("step,conv1,fc\n50,1.0,2.0\n")
    with pytest.raises(UsageError, match="does not begin with the first step"):
        layer_gradients.at_first_step(tmp_path)


def test_a_log_that_begins_late_is_drawn(tmp_path):
    (tmp_path / "plots").mkdir()
    metrics = Metrics(tmp_path, 0, 54)
    add_steps(metrics, 1, 54, 54)
    metrics.close()
    metrics = Metrics(tmp_path, 54, 54, more_columns=COLUMNS)
    add_steps(metrics, 55, 108, 54)
    metrics.draw(last=True)
    metrics.close()
    assert (tmp_path / "plots" / "layer_gradients.png").exists()


class KilledError(Exception):
    pass


def train(program, workdir, killed_in_epoch=None):
    """Trains for four epochs of two steps; may be killed after a validation."""
    batch = make_batch(28)
    labels = np.tile(batch["label"], 2)
    source = ArraySource(np.tile(batch["image"], (2, 1, 1, 1)), labels, [""] * 32)
    batches = TrainBatches(source, program.config.data, seed=0, batch_size=16)
    calls = iter(range(1, 100))

    def validate(variables):
        if next(calls) == killed_in_epoch:
            raise KilledError
        return {"loss": 1.0, "top1_error": 50.0, "top5_error": 50.0}

    trainer = loop.Trainer(program, batches, validate, Run(workdir, Screen(quiet=True)))
    try:
        trainer.fit()
    finally:
        trainer.checkpoints.close()


@pytest.mark.slow
def test_a_killed_run_that_continues_has_the_table_of_a_whole_one(tmp_path, capsys):
    program = make_program("--config.epochs=4")
    program.compile()
    train(program, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(program, tmp_path / "killed", killed_in_epoch=3)
    table = tmp_path / "killed" / layer_gradients.FILE
    with table.open("a") as file:  # a row of a step that the checkpoint does not have
        csv.writer(file).writerow([6, 9, 9, 9, 9, 9])
    train(program, tmp_path / "killed")
    whole = (tmp_path / "whole" / layer_gradients.FILE).read_text()
    assert table.read_text() == whole
    assert whole.count("\n") == 1 + 8
    assert "is not what the run wrote" not in capsys.readouterr().err

"""A network split over devices has the steps and checkpoints of one device."""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from cnn_arch import settings
from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.parallel.mesh import make_mesh, partition_specs, put_batch
from cnn_arch.training.program import Program

BATCH, NUM_CLASSES, NUM_STEPS = 16, 16, 10
ROUNDING = 1e-4  # float32 sums of thousands of terms, in another order
# For the change and the momentum after ten steps: rounding may turn a ReLU off or
# choose another maximum, which changes a gradient by about a hundredth.
AFTER_STEPS = 0.02
MESHES = [(1, 1), (8, 1), (4, 2), (2, 4), (1, 8)]
# The smallest possible, or a little more.
IMAGE_SIZES = {"alexnet": 67, "alexnet_owt": 63, "vgg11": 32, "vgg11_bn": 32}
IMAGE_SIZES |= {"resnet20": 16, "googlenet": 79}
# The number of the first batch, whose gradients are compared most closely. With batch 0
# a change of the weights by 1e-7 already changes gradients by 0.002 (vgg11) or 0.004
# (vgg11_bn), because it turns a unit on or off. With batch 20, none of 30 such changes
# moves the gradients of vgg11_bn by more than 6e-6. In each of batches 0 to 20 such a
# change moves those of googlenet, which has many maxima to choose: with batch 4, by
# 1e-6 in six of ten changes, and by 0.0005 at most.
FIRST_BATCH = {"vgg11": 1, "vgg11_bn": 20, "googlenet": 4}


def make_program(name: str, data: int, model: int, *words: str) -> Program:
    """Returns the program that train.py would make."""
    config, _ = settings.parse(
        [
            f"--config=configs/{name}.py:folder",
            f"--config.mesh.data={data}",
            f"--config.mesh.model={model}",
            f"--config.data.image_size={IMAGE_SIZES[name]}",
            f"--config.batch_size={BATCH}",
            # Small: an early difference by rounding must not cause larger ones later.
            "--config.optim.learning_rate=1e-5",
            "--config.optim.schedule=constant",
            "--config.data.mean=(123.675, 116.28, 103.53)",
            "--config.data.std=(64.0, 64.0, 64.0)",
            "--config.optim.weight_decay=0",  # decay would hide small gradients
            "--config.data.pca_noise=0",
            *words,
        ]
    )
    return Program(config, NUM_CLASSES, make_mesh(data, model), steps_per_epoch=100)


def make_batch(program: Program, number: int) -> dict[str, jax.Array]:
    random = np.random.default_rng(number)
    size = program.config.data.image_size
    image = random.integers(0, 256, (BATCH, size, size, 3)).astype(np.uint8)
    label = random.integers(0, NUM_CLASSES, BATCH).astype(np.int32)
    return put_batch({"image": image, "label": label}, program.mesh)


def make_louder(state: Any) -> Any:
    """Scales kernels to the standard deviation of He et al. 2015, Equation 10.

    With weights from N(0, 0.01^2), a small image hardly changes the activations of the
    last layers. The signs of the biases then decide which ReLUs are on, and the sign
    of a bias near zero depends on rounding.
    """

    def louder(leaf: jax.Array) -> jax.Array:
        fan_in = leaf.size / leaf.shape[-1]
        factor = (2 / fan_in) ** 0.5 / jnp.maximum(leaf.std(), 1e-12)
        return leaf * factor if leaf.ndim > 1 else leaf

    shardings = jax.tree.map(lambda leaf: leaf.sharding, state.params)
    scale = jax.jit(partial(jax.tree.map, louder), out_shardings=shardings)
    return state.replace(params=scale(state.params))


def logits(program: Program, state: Any, image: np.ndarray) -> np.ndarray:
    """Applies the network, without dropout, to normalised images."""
    specs = partition_specs(state.variables, program.model, program.mesh)
    apply = jax.shard_map(
        partial(program.model.apply, train=False),
        mesh=program.mesh,
        in_specs=(specs, P("data")),
        out_specs=P("data"),
        check_vma=False,
    )
    return np.asarray(jax.jit(apply)(state.variables, image))


def train(name: str, data: int, model: int, *words: str, num_steps: int = NUM_STEPS):
    """Returns a run's first parameters, logits and gradient, metrics and last state."""
    program = make_program(name, data, model, *words)
    state = program.initialise()
    run: dict[str, Any] = {"initial": jax.device_get(state.params)}
    state = make_louder(state)
    size = program.config.data.image_size
    image = np.random.default_rng(0).standard_normal((BATCH, size, size, 3))
    before = jax.device_get(state.params)
    run["logits"] = logits(program, state, image.astype(np.float32))
    metrics = []
    first = FIRST_BATCH.get(name, 0)
    for number in range(first, first + num_steps):
        state, on_device = program.train_step(state, make_batch(program, number))
        metrics.append(jax.device_get(on_device))
        if number == first:  # then the momentum is the gradient
            run["gradient"] = jax.device_get(state.opt_state)
    run["momentum"] = jax.device_get(state.opt_state)
    after = jax.device_get(state.params)
    run["change"] = jax.tree.map(lambda a, b: a - b, after, before)
    run["batch_stats"] = jax.device_get(state.batch_stats)
    run["metrics"] = {key: np.array([m[key] for m in metrics]) for key in metrics[0]}
    return run


def assert_equal_runs(run: Any, other: Any) -> None:
    """Compares arrays, relative to their norms, and the metrics of each step."""
    # The last numbers of a share of odd length are computed without vectors.
    equal = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-8)
    jax.tree.map(equal, run["initial"], other["initial"])
    for key in ("logits", "gradient", "momentum", "change", "batch_stats"):
        bound = ROUNDING if key in ("logits", "gradient") else AFTER_STEPS
        leaves = jax.tree_util.tree_leaves_with_path(run[key])
        others = jax.tree.leaves(other[key])
        norms = {path: np.linalg.norm(leaf) for path, leaf in leaves}
        for (path, leaf), twin in zip(leaves, others, strict=True):
            scale = norms[path]
            if [getattr(part, "key", None) for part in path[-2:]] == ["conv", "bias"]:
                # BatchNorm subtracts this bias again: its gradient is only rounding.
                scale = norms[(*path[:-1], jax.tree_util.DictKey("kernel"))]
            error = np.linalg.norm(leaf - twin) / max(scale, 1e-12)
            assert error < bound, (key, path, error)
    for key in ("loss", "gradient_norm", "learning_rate"):
        values, expected = run["metrics"][key], other["metrics"][key]
        np.testing.assert_allclose(values[0], expected[0], rtol=ROUNDING)
        np.testing.assert_allclose(values, expected, rtol=AFTER_STEPS)


@functools.cache
def train_on_one_device(name: str, *words: str, num_steps: int = NUM_STEPS):
    return train(name, 1, 1, *words, num_steps=num_steps)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "alexnet_owt"])
def test_a_split_network_trains_as_on_one_device(name):
    """Dropout included: its masks are the same on any mesh."""
    run = train(name, 2, 2, num_steps=2)
    assert_equal_runs(run, train_on_one_device(name, num_steps=2))


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [(2, 2), (1, 2)])
def test_a_split_network_trains_on_a_batch_in_parts(mesh):
    run = train("alexnet", *mesh, "--config.accumulate=4", num_steps=2)
    assert_equal_runs(run, train_on_one_device("alexnet", num_steps=2))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint of a 2 x 2 mesh, its arrays, and the step after it."""
    program = make_program("alexnet", 2, 2, "--config.model.fields.groups=4")
    state, _ = program.train_step(program.initialise(), make_batch(program, 0))
    directory = tmp_path_factory.mktemp("run") / "checkpoints"
    checkpoints = Checkpoints(directory, warn=pytest.fail)
    checkpoints.save(state, config={}, epoch=1.0, validation_error=None)
    checkpoints.close()
    arrays = jax.device_get(state)
    state, _ = program.train_step(state, make_batch(program, 1))
    return checkpoints, arrays, jax.device_get(state)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 4), *MESHES[:3]])
def test_a_checkpoint_continues_on_another_mesh(saved, shape):
    checkpoints, arrays, after = saved
    program = make_program("alexnet", *shape, "--config.model.fields.groups=4")
    state = checkpoints.restore(program.state_shapes)
    jax.tree.map(np.testing.assert_array_equal, state, arrays)
    momentum = optax.tree.get(state.opt_state, "trace")
    for tree in (state.params, momentum):
        kernel = tree["fc7"]["kernel"]
        assert kernel.addressable_shards[0].data.shape == (4096, 4096 // shape[1])
    state, _ = program.train_step(state, make_batch(program, 1))
    for leaf, twin in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert np.abs(leaf - twin).max() < ROUNDING * np.abs(twin).max()


SPLIT = ["alexnet", "alexnet_owt", "vgg11", "vgg11_bn"]
CASES = [(name, mesh) for name in SPLIT for mesh in MESHES]
CASES += [(name, mesh) for name in ("resnet20", "googlenet") for mesh in MESHES[:2]]


@pytest.mark.slow
@pytest.mark.parametrize("dropout", ["with dropout", "without"])
@pytest.mark.parametrize(("name", "mesh"), CASES)
def test_any_mesh_trains_as_one_device(name, mesh, dropout):
    words = ["--config.model.fields.groups=8"] if name == "alexnet" else []
    if dropout == "without":
        if name == "resnet20":
            pytest.skip("it has no dropout")
        words.append("--config.model.fields.dropout_rate=0")
    run = train(name, *mesh, *words)
    assert_equal_runs(run, train_on_one_device(name, *words))

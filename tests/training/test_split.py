"""A network spread over devices: the same steps, and checkpoints, as on one device."""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from cnn_arch import settings
from cnn_arch.checkpoints.checkpoint import Checkpoints
from cnn_arch.parallel.mesh import make_mesh, partition_specs, put_batch
from cnn_arch.training.program import Program

BATCH, NUM_CLASSES, NUM_STEPS = 16, 16, 10
# Of sums of thousands in float32, in another order.
ROUNDING = 1e-4
# Of ten steps' change and momentum: a rounding may turn a ReLU off, or choose another
# maximum, which moves a gradient by about a hundredth.
AFTER_STEPS = 0.02
MESHES = [(1, 1), (8, 1), (4, 2), (2, 4), (1, 8)]
IMAGE_SIZES = {  # the smallest, or nearly so; BatchNorm wants more pixels
    **{"alexnet": 67, "alexnet_owt": 63, "vgg11": 32, "vgg11_bn": 64},
    **{"resnet20": 16, "googlenet": 79},
}


def make_program(name: str, data: int, model: int, *words: str) -> Program:
    """Does what train.py does before it trains."""
    config, _ = settings.parse(
        [
            f"--config=configs/{name}.py:folder",
            f"--config.mesh.data={data}",
            f"--config.mesh.model={model}",
            f"--config.data.image_size={IMAGE_SIZES[name]}",
            f"--config.batch_size={BATCH}",
            # So small that what rounding has decided once decides nothing further.
            "--config.optim.learning_rate=1e-5",
            "--config.optim.schedule=constant",
            "--config.data.std=(64.0, 64.0, 64.0)",
            "--config.optim.weight_decay=0",  # it would hide small gradients
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
    """Gives kernels of two and four axes the size of He et al. 2015, Equation 10.

    From N(0, 0.01^2) the signal of a small image all but vanishes on its way, so that
    the sign of a bias decides for all images, and that of one near zero is rounding.
    """

    def louder(leaf: jax.Array) -> jax.Array:
        fan_in = leaf.size / leaf.shape[-1]
        factor = (2 / fan_in) ** 0.5 / jnp.maximum(leaf.std(), 1e-12)
        return leaf * factor if leaf.ndim > 1 else leaf

    where = jax.tree.map(lambda leaf: leaf.sharding, state.params)
    change = jax.jit(lambda params: jax.tree.map(louder, params), out_shardings=where)
    return state.replace(params=change(state.params))


def logits(program: Program, state: Any, image: np.ndarray) -> np.ndarray:
    """Applies the network, without dropout, to normalised images."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    specs = partition_specs(variables, program.model, program.mesh)
    apply = jax.shard_map(
        partial(program.model.apply, train=False),
        mesh=program.mesh,
        in_specs=(specs, P("data")),
        out_specs=P("data"),
        check_vma=False,
    )
    return np.asarray(jax.jit(apply)(variables, image))


def train(name: str, data: int, model: int, *words: str, num_steps: int = NUM_STEPS):
    """Returns what a run gives: initial state, logits, gradient, metrics, end."""
    program = make_program(name, data, model, *words)
    state = program.initialise()
    initial = jax.device_get(state.params)
    state = make_louder(state)
    size = program.config.data.image_size
    image = np.random.default_rng(0).standard_normal((BATCH, size, size, 3))
    before = jax.device_get(state.params)
    run: dict[str, Any] = {"initial": initial}
    run["logits"] = logits(program, state, image.astype(np.float32))
    metrics = []
    for number in range(num_steps):
        state, on_device = program.train_step(state, make_batch(program, number))
        metrics.append(jax.device_get(on_device))
        if number == 0:  # momentum begins as the gradient
            run["gradient"] = jax.device_get(state.opt_state)
    run["momentum"] = jax.device_get(state.opt_state)
    after = jax.device_get(state.params)
    run["change"] = jax.tree.map(lambda a, b: a - b, after, before)
    run["batch_stats"] = jax.device_get(state.batch_stats)
    run["metrics"] = {key: np.array([m[key] for m in metrics]) for key in metrics[0]}
    return run


def assert_equal_runs(run: Any, other: Any) -> None:
    """Compares arrays, each by its norm, and the metrics of each step."""
    # Of odd lengths, each share's last numbers are computed by scalars, not vectors.
    equal = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-8)
    jax.tree.map(equal, run["initial"], other["initial"])
    for key in ("logits", "gradient", "momentum", "change", "batch_stats"):
        bound = ROUNDING if key in ("logits", "gradient") else AFTER_STEPS
        leaves = jax.tree_util.tree_leaves_with_path(run[key])
        others = jax.tree.leaves(other[key])
        norms = {path: np.linalg.norm(leaf) for path, leaf in leaves}
        for (path, leaf), twin in zip(leaves, others, strict=True):
            of_scale = path
            if [getattr(part, "key", None) for part in path[-2:]] == ["conv", "bias"]:
                # BatchNorm takes it away again: its gradient is rounding alone.
                of_scale = (*path[:-1], jax.tree_util.DictKey("kernel"))
            error = np.linalg.norm(leaf - twin) / max(norms[of_scale], 1e-12)
            assert error < bound, (key, path, error)
    for key in ("loss", "gradient_norm", "learning_rate"):
        values, expected = run["metrics"][key], other["metrics"][key]
        np.testing.assert_allclose(values[0], expected[0], rtol=ROUNDING)
        np.testing.assert_allclose(values, expected, rtol=AFTER_STEPS)


@functools.cache
def train_on_one_device(name: str, *words: str, num_steps: int = NUM_STEPS):
    return train(name, 1, 1, *words, num_steps=num_steps)


@pytest.mark.parametrize(
    "name", ["alexnet", pytest.param("alexnet_owt", marks=pytest.mark.slow)]
)
def test_a_split_network_trains_as_on_one_device(name):
    """With dropout: its masks are those of one device."""
    run = train(name, 2, 2, num_steps=2)
    assert_equal_runs(run, train_on_one_device(name, num_steps=2))


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


@pytest.mark.parametrize(
    "shape", [(1, 4), *(pytest.param(s, marks=pytest.mark.slow) for s in MESHES[:3])]
)
def test_a_checkpoint_goes_on_on_another_mesh(saved, shape):
    checkpoints, arrays, after = saved
    program = make_program("alexnet", *shape, "--config.model.fields.groups=4")
    state = checkpoints.restore(program.state_shapes)
    jax.tree.map(np.testing.assert_array_equal, state, arrays)
    trace = state.opt_state[0].trace  # of momentum
    for tree in (state.params, trace):
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

"""Idelbayev's ResNets for CIFAR-10, compared with their own forward pass by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnn_arch.errors import UsageError
from cnn_arch.models import create_model
from cnn_arch.weights import cifar_resnets
from cnn_arch.weights.files import check_fit, read_fitting, read_weights
from tests.models.conftest import abstract_variables
from tests.weights import torch_files

DEPTH = 20
SIZE = (DEPTH - 2) // 6  # blocks of a stage


@pytest.fixture(scope="module")
def arrays():
    """Weights under the names of his files."""
    generator = np.random.default_rng(0)
    found = {}

    def conv(name, outputs, inputs):
        deviation = (2 / (9 * inputs)) ** 0.5
        weight = generator.normal(0, deviation, (outputs, inputs, 3, 3))
        found[f"{name}.weight"] = weight

    def norm(name, width):
        for array in ("weight", "bias", "running_mean"):
            found[f"{name}.{array}"] = generator.normal(0.5, 0.3, width)
        found[f"{name}.running_var"] = generator.uniform(0.5, 2, width)
        found[f"{name}.num_batches_tracked"] = np.zeros((), np.int64)

    conv("conv1", 16, 3)
    norm("bn1", 16)
    inputs = 16
    for stage, width in enumerate((16, 32, 64), start=1):
        for block in range(SIZE):
            name = f"layer{stage}.{block}"
            conv(f"{name}.conv1", width, inputs)
            norm(f"{name}.bn1", width)
            conv(f"{name}.conv2", width, width)
            norm(f"{name}.bn2", width)
            inputs = width
    found["linear.weight"] = generator.normal(0, 0.1, (10, 64))
    found["linear.bias"] = generator.normal(0, 0.1, 10)
    return {
        name: array if array.dtype == np.int64 else array.astype(np.float32)
        for name, array in found.items()
    }


def forward(arrays, image):
    """Computes the logits of images [B, 3, 32, 32]: zeros on both sides (option A)."""

    def conv(x, name, stride=1):
        kernel = arrays[f"{name}.weight"]
        return lax.conv_general_dilated(x, kernel, (stride, stride), [(1, 1), (1, 1)])

    def norm(x, name):
        scale, bias, mean, var = (
            arrays[f"{name}.{key}"][:, None, None]
            for key in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias

    x = jax.nn.relu(norm(conv(image, "conv1"), "bn1"))
    for stage in (1, 2, 3):
        for block in range(SIZE):
            name, falls = f"layer{stage}.{block}", stage > 1 and block == 0
            y = conv(x, f"{name}.conv1", 2 if falls else 1)
            y = conv(jax.nn.relu(norm(y, f"{name}.bn1")), f"{name}.conv2")
            y = norm(y, f"{name}.bn2")
            if falls:
                zeros = x.shape[1] // 2
                x = jnp.pad(x[:, :, ::2, ::2], ((0, 0), (zeros, zeros), (0, 0), (0, 0)))
            x = jax.nn.relu(x + y)
    return x.mean(axis=(2, 3)) @ arrays["linear.weight"].T + arrays["linear.bias"]


@pytest.mark.parametrize("save", [torch_files.save, torch_files.save_stream])
def test_logits_equal_those_of_his_network(arrays, tmp_path, save):
    """The file is a training checkpoint of several devices, as he publishes them."""
    path = tmp_path / "resnet20.th"
    named = {f"module.{name}": array for name, array in arrays.items()}
    state = torch_files.state_dict(named)
    save(path, {"best_prec1": 91.78, "state_dict": state}, named)
    weights = read_weights(str(path), "resnet20")
    assert weights.mean == (123.675, 116.28, 103.53)
    model = create_model("resnet20", 10)
    check_fit(weights.variables, abstract_variables(model, 32))
    image = np.random.default_rng(1).normal(0, 1, (2, 32, 32, 3)).astype(np.float32)
    logits = jax.jit(partial(model.apply, train=False))(weights.variables, image)
    expected = jax.jit(partial(forward, arrays))(image.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_a_start_from_a_part_of_his_network(arrays, tmp_path):
    part = {name: x for name, x in arrays.items() if not name.startswith("layer3")}
    part["projection.weight"] = np.zeros((3, 2), np.float32)
    path = tmp_path / "part.pth"
    torch_files.save(path, torch_files.state_dict(part), part)
    weights, others = read_fitting(str(path), ["resnet20"])
    assert others == ["projection.weight"]
    assert "conv3_1" in weights.variables["params"]
    assert "conv4_1" not in weights.variables["params"]
    with pytest.raises(UsageError, match=r"left over: projection\.weight"):
        read_weights(str(path), "resnet20")


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("layer2.0.conv1.weight", (32, 32, 3, 3), "must have 16 channels"),
        ("layer3.1.bn2.weight", (32,), "must have 64 channels"),
        ("linear.weight", (10, 64, 1), "has 3 axes; must be 1, 2 or 4"),
    ],
)
def test_arrays_of_another_network_are_refused(arrays, key, shape, message):
    given = arrays | {key: np.zeros(shape, np.float32)}
    with pytest.raises(UsageError, match=message):
        cifar_resnets.from_cifar_resnet(given)

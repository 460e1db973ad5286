"""Mixup, CutMix and random erasing, compared with NumPy and on several devices."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch.data import mixing

SPECS = P("data"), P("data"), P()


def alphas(mixup, cutmix):
    return ConfigDict({"mixup": mixup, "cutmix": cutmix})


@cache
def mixer(num_devices, *values):
    """Returns the mixing of a key's numbers on some devices, as in training."""
    mesh = Mesh(np.array(jax.devices()[:num_devices]), ("data",))
    mapped = jax.shard_map(
        lambda key, image, label: mixing.mix(image, label, key, alphas(*values)),
        mesh=mesh,
        in_specs=(P(), P("data"), P("data")),
        out_specs=SPECS,
        check_vma=False,
    )
    return jax.jit(mapped)


def alone(function):
    """Returns the function of many seeds, each on one device of the axis "data"."""
    on_axis = jax.vmap(function, axis_name="data", axis_size=1, in_axes=None)
    return jax.jit(jax.vmap(lambda seed: on_axis(seed)[0]))


@pytest.fixture(scope="module")
def batch():
    image = np.random.default_rng(0).normal(size=(8, 10, 12, 3)).astype(np.float32)
    return image, np.arange(8, dtype=np.int32)


@pytest.mark.parametrize("seed", range(3))
def test_mixup_is_the_weighted_mean_with_the_row_before(batch, seed):
    image, label = batch
    mixed, partner, share = mixer(1, 0.2, 0.0)(jax.random.key(seed), *batch)
    expected = share * image + (1 - share) * np.roll(image, 1, axis=0)
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    np.testing.assert_array_equal(partner, np.roll(label, 1))


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_counts_the_pixels_that_are_left(batch, seed):
    image, _ = batch
    mixed, _, share = mixer(1, 0.0, 1.0)(jax.random.key(seed), *batch)
    is_own = np.asarray(mixed) == image
    is_other = np.asarray(mixed) == np.roll(image, 1, axis=0)
    assert (is_own | is_other).all()
    assert is_own[0].mean() == pytest.approx(float(share))
    rows, columns = np.nonzero(~is_own[0, :, :, 0])
    if len(rows):  # the others' pixels are a rectangle
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert area == len(rows)


SLOW = pytest.mark.slow
ONE_METHOD = (0.2, 0.0), (0.0, 1.0)


@pytest.mark.parametrize("num_devices", [2, pytest.param(4, marks=SLOW)])
@pytest.mark.parametrize(
    "values", [(0.2, 1.0), *(pytest.param(each, marks=SLOW) for each in ONE_METHOD)]
)
def test_mixing_is_the_same_on_any_number_of_devices(batch, num_devices, values):
    key = jax.random.key(4)
    one, several = (mixer(number, *values)(key, *batch) for number in (1, num_devices))
    jax.tree.map(np.testing.assert_array_equal, one, several)


def test_both_methods_get_half_of_the_batches(batch):
    image, label = (jnp.array(each[:2]) for each in batch)

    def is_cut(seed):
        mixed = mixing.mix(image, label, jax.random.key(seed), alphas(0.2, 1.0))[0]
        return ((mixed == image) | (mixed == jnp.roll(image, 1, 0))).all()

    share = np.mean(alone(is_cut)(jnp.arange(2000)))
    assert 0.45 < share < 0.56  # mixup with a share of 1 looks as if it were cut


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_follow_the_beta_distribution(batch, alpha):
    """Beta(a, a) has the mean 1/2 and the variance 1 / (8 a + 4)."""
    image, label = batch[0][:2, :2, :2], batch[1][:2]

    def share(seed):
        return mixing.mix(image, label, jax.random.key(seed), alphas(alpha, 0.0))[2]

    shares = alone(share)(jnp.arange(20_000))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.01)
    assert np.var(shares) == pytest.approx(1 / (8 * alpha + 4), rel=0.03)


def slow_erasing_box(height, width, uniforms):
    """Returns torchvision's box, one try after the other: top, left, height, width."""
    for i in range(mixing.ERASING_TRIES):
        area = height * width * (0.02 + 0.31 * uniforms[2 * i])
        aspect = math.exp(math.log(0.3) + math.log(11) * uniforms[2 * i + 1])
        high, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if high < height and wide < width:
            top = int(uniforms[20] * (height - high + 1))
            return top, int(uniforms[21] * (width - wide + 1)), high, wide
    return 0, 0, 0, 0


def test_erase_equals_one_try_after_the_other():
    generator = np.random.default_rng(0)
    uniforms = generator.random((500, 23)).astype(np.float32)
    image = np.ones((500, 20, 30, 1), np.float32)
    erased = np.asarray(jax.jit(mixing.erase)(image, uniforms, 0.25))
    for row in range(500):
        expected = image[row].copy()
        if uniforms[row, 0] < 0.25:
            top, left, high, wide = slow_erasing_box(20, 30, uniforms[row, 1:])
            expected[top : top + high, left : left + wide] = 0
        np.testing.assert_array_equal(erased[row], expected)

"""Costs of training steps, counted by hand for small networks."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from cnn_arch.costs.layers import layer_costs
from cnn_arch.costs.training_step import first_layers, kept_bytes, training_costs
from cnn_arch.costs.xla import flops_of
from cnn_arch.models import create_model
from cnn_arch.models.layers import Conv, MaxPool


class Small(nn.Module):
    """[B, 4, 4, 2] to logits [B, 3]: two 1x1 convolutions and a dense layer."""

    @nn.compact
    def __call__(self, x, *, train):
        x = Conv(8, 1, use_bias=False, name="first")(x)
        x = Conv(5, 1, use_bias=False, name="second")(x)
        return nn.Dense(3, use_bias=False, name="last")(x.reshape(x.shape[0], -1))


def costs_of(model, optimizer, batch=2):
    rows = layer_costs(model, 4, 2, batch)
    return training_costs(model, rows, optimizer, batch)


def test_by_hand():
    costs = costs_of(Small(), optax.sgd(0.1, momentum=0.9))
    weights = 2 * 8 + 8 * 5 + 80 * 3
    first, second, last = 2 * 16 * 2 * 8, 2 * 16 * 8 * 5, 2 * 80 * 3  # MACs, batch 2
    assert costs.forward_flops == 2 * (first + second + last)
    # The first layer's input is the image, which needs no gradient.
    assert costs.backward_flops == 2 * (first + 2 * second + 2 * last)
    assert costs.parameter_bytes == costs.gradient_bytes == 4 * weights
    assert costs.optimizer_bytes == 4 * weights  # momentum
    # v <- 0.9 v + g; w <- w - 0.1 v: two products, two sums.
    assert costs.update_flops == 4 * weights
    assert costs.image_bytes == 2 * 16 * 2 * 4
    # The inputs of the second and the last layer; the image is in memory anyway.
    assert costs.activation_bytes == 2 * (16 * 8 + 16 * 5) * 4
    assert costs.bytes_of_one_more == (16 * 2 + 16 * 8 + 16 * 5) * 4


def test_a_batch_in_parts_keeps_the_activations_of_one():
    rows = layer_costs(Small(), 4, 2, 8)
    sgd = optax.sgd(0.1, momentum=0.9)
    whole, parted = (training_costs(Small(), rows, sgd, 8, n) for n in (1, 4))
    image, activations = 16 * 2 * 4, (16 * 8 + 16 * 5) * 4  # bytes of one
    assert parted.activation_bytes == 2 * activations == whole.activation_bytes // 4
    assert parted.image_bytes == whole.image_bytes == 8 * image
    assert parted.gradient_bytes == 2 * whole.gradient_bytes  # the sum, and a part's
    assert parted.bytes_of_one_more == image + activations // 4
    spare = 10 * image + 10 * activations // 4
    assert parted.largest_batch(parted.total_bytes + spare) == 8 + 8  # of 18: 4 parts
    assert parted.forward_flops == whole.forward_flops


def test_backward_flops_are_xlas():
    # Without padding or elementwise operations XLA counts the same.
    model = Small()
    image = jnp.ones((2, 4, 4, 2))
    params = model.init(jax.random.key(0), image, train=False)

    def outputs(params):
        return model.apply(params, image, train=True)

    def backward(params, cotangent):
        return jax.vjp(outputs, params)[1](cotangent)

    lowered = jax.jit(backward).lower(params, outputs(params))
    flops = flops_of(lowered.cost_analysis())
    costs = costs_of(model, optax.sgd(0.1))
    dense = 2 * 2 * 80 * 3  # no gradient needs the last layer's forward pass
    assert flops == costs.forward_flops + costs.backward_flops - dense


def test_bytes_that_an_activation_keeps():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            x = jnp.tanh(Conv(8, 1, use_bias=False)(x))
            return Conv(1, 1, use_bias=False)(x).sum(axis=(1, 2))

    image = jax.ShapeDtypeStruct((3, 4, 4, 2), jnp.float32)
    init = partial(Net().init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), image)
    # tanh's derivative is computed from its result, which the next layer also keeps.
    size = 3 * 4 * 4 * 8 * 4
    assert kept_bytes(Net(), variables, image) in (size, 2 * size)


def test_the_largest_batch():
    costs = costs_of(Small(), optax.sgd(0.1, momentum=0.9))
    fixed, growth = 3 * 4 * (16 + 40 + 240), 960
    assert costs.largest_batch(fixed + 7 * growth) == 7
    assert costs.largest_batch(fixed + 7 * growth - 1) == 6
    assert costs.largest_batch(fixed + 7 * growth, with_gradients=True) == 3
    assert costs.largest_batch(100) == 0


def test_alexnet_and_the_gtx_580():
    # Krizhevsky et al. 2012, Section 3.2: "A single GTX 580 GPU has only 3GB of memory,
    # which limits the maximum size of the networks"; the batch was 128.
    model = create_model("alexnet")
    rows = layer_costs(model, 227, 3)
    costs = training_costs(model, rows, optax.sgd(0.1, momentum=0.9), 1)
    assert costs.parameter_bytes == 4 * 60_965_224
    assert costs.largest_batch(3 * 2**30, with_gradients=True) < 128


def test_which_layers_have_the_image_as_input():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            pooled = MaxPool(2, 2, name="pool")(x)
            y = Conv(2, 1, name="a")(pooled)
            return Conv(2, 1, name="b")(pooled) + Conv(2, 1, name="c")(y)

    rows = layer_costs(Net(), 4, 2)
    assert first_layers(rows) == {"input", "pool", "a", "b"}

"""The layers that more than one paper uses; the others are in their papers' files.

A layer's output is the output of its activation, as in Caffe and Keras: this is what a
paper means by ``fc7``. Pooling and normalisation are modules without parameters: this
gives them names in cost tables, in error messages, and as features.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cnn_arch.ops import norm_relu, pool, sliding, split
from cnn_arch.ops.conv import Padding, convolve

Activation = Callable[[jax.Array], jax.Array]
Initializer = Callable[..., jax.Array]
ConvMaker = Callable[..., nn.Module]  # a partial Conv or ConvBN

# Section 3.4 of He et al. 2015 ("Deep Residual Learning") points to "Delving Deep into
# Rectifiers", Equation 10: a normal distribution of variance 2 / fan-in.
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
zeros, ones = nn.initializers.zeros, nn.initializers.ones
relu, flatten = norm_relu.relu, sliding.flatten


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Returns (height, width); a single number means both."""
    return (value, value) if isinstance(value, int) else value


class Conv(nn.Module):
    """A convolution [B, H, W, C] -> [B, H', W', features], bias and activation."""

    features: int
    kernel_size: int | tuple[int, int]
    stride: int = 1
    padding: int | tuple[int, int] | None = None  # None: H' = H at stride 1
    groups: int = 1
    use_bias: bool = True
    activation: Activation | None = None
    kernel_init: Initializer = he_normal
    bias_init: Initializer = zeros
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        height, width = pair(self.kernel_size)
        if self.padding is None:
            assert self.stride == 1 and height % 2 and width % 2, "padding is ambiguous"
            vertical, horizontal = height // 2, width // 2
        else:
            vertical, horizontal = pair(self.padding)
        shape = (height, width, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        padding = ((vertical, vertical), (horizontal, horizontal))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        x = convolve(x, kernel, self.stride, padding, self.groups)
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,))
            x = norm_relu.add_bias(x, bias)
        return self.activation(x) if self.activation else x


class Dense(nn.Module):
    """A dense layer [B, C] -> [B, features], bias and activation.

    A network's last one keeps the default dtype: logits are float32. In a network that
    slides over whole images, the input are maps (ops/sliding.py).
    """

    features: int
    activation: Activation | None = None
    kernel_init: Initializer = he_normal
    bias_init: Initializer = zeros
    dtype: Any = jnp.float32  # of activations; parameters stay float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(self.dtype)
        if x.ndim == 4:  # maps, of a network that slides
            kernel: Any = self.get_variable("params", "kernel")
            x = sliding.slide(x, kernel.astype(self.dtype))
        else:
            shape = (x.shape[-1], self.features)
            kernel = self.param("kernel", self.kernel_init, shape)
            x = x @ kernel.astype(self.dtype)
        bias = self.param("bias", self.bias_init, (self.features,))
        x = x + bias.astype(self.dtype)
        return self.activation(x) if self.activation else x


def batch_norm(
    *, train: bool, axis: split.Axes | None, epsilon: float = 1e-5, dtype: Any
) -> Callable[..., nn.Module]:
    """Returns a constructor of BatchNorm layers that share these fields."""
    return partial(BatchNorm, train=train, axis=axis, epsilon=epsilon, dtype=dtype)


class BatchNorm(nn.Module):
    """Normalises maps [..., C] by their statistics, then scales and shifts them.

    Ioffe and Szegedy 2015. It has the parameters and the statistics of ``nn.BatchNorm``
    with momentum 0.9, and a faster gradient. A variable ``is_frozen`` in the collection
    "frozen" puts the layer in evaluation mode (training/frozen.py). Without a
    scale it is folded into its convolution (models/folding.py).
    """

    train: bool  # use the batch's statistics, not the running ones
    axis: split.Axes | None  # mesh axes that share a batch's statistics
    epsilon: float  # added to the variance
    dtype: Any  # of the output
    scale_init: Initializer = ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = x.shape[-1:]
        if not (self.is_initializing() or self.has_variable("params", "scale")):
            bias = self.get_variable("params", "bias")
            return x if bias is None else norm_relu.add_bias(x, bias)
        scale = self.param("scale", self.scale_init, shape)
        bias = self.param("bias", zeros, shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_variance = self.variable("batch_stats", "var", jnp.ones, shape)
        x = x.astype(self.dtype)
        if not self.train or self.has_variable("frozen", "is_frozen"):
            scale *= lax.rsqrt(running_variance.value + self.epsilon)
            wide = x.astype(jnp.float32) - running_mean.value
            return (wide * scale + bias).astype(self.dtype)
        axis = None if self.is_initializing() else self.axis
        x, mean, variance = norm_relu.batch_norm(x, scale, bias, self.epsilon, axis)
        if not self.is_initializing():
            running_mean.value = 0.9 * running_mean.value + 0.1 * mean
            running_variance.value = 0.9 * running_variance.value + 0.1 * variance
            if self.is_mutable_collection("moments"):  # evaluation/exact_statistics.py
                self.put_variable("moments", "mean", mean)
                self.put_variable("moments", "var", variance)
        return x


class ConvBN(nn.Module):
    """A convolution, BatchNorm, ReLU."""

    features: int
    kernel_size: int | tuple[int, int]
    stride: int = 1
    padding: int | tuple[int, int] | None = None
    use_bias: bool = False  # BatchNorm has one
    kernel_init: Initializer = he_normal
    dtype: Any = jnp.float32
    norm: Callable[..., nn.Module] = nn.BatchNorm  # networks give batch_norm's

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = Conv(
            self.features,
            self.kernel_size,
            self.stride,
            self.padding,
            use_bias=self.use_bias,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name="conv",
        )
        return relu(self.norm(name="bn")(conv(x)))


class Dropout(nn.Module):
    """Sets units of [B, ..., C] to zero; scales the others to keep the mean.

    Srivastava et al. 2014, "Dropout", Section 10. A unit's position in the whole batch
    and in the whole layer decides whether it is dropped: on any mesh, and in any number
    of parts, the same units are dropped.
    """

    rate: float  # probability of zero, below 1
    deterministic: bool  # for evaluation: drop nothing
    rows: tuple[str, ...] = (split.DATA,)  # mesh axes over which the batch is spread
    own_features: bool = False  # C is this device's share of the layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.deterministic or not self.rate:
            return x
        rows = split.batch_rows(len(x), *self.rows)
        fold_in = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
        keys = fold_in(self.make_rng("dropout"), rows)
        parts = split.num_parts() if self.own_features else 1
        shape = (*x.shape[1:-1], x.shape[-1] * parts)
        draw = partial(jax.random.bernoulli, p=1 - self.rate, shape=shape)
        kept = jax.vmap(draw)(keys)
        if self.own_features:
            kept = split.own_features(kept)
        return jnp.where(kept, x / (1 - self.rate), 0)


def pool_padding(x: jax.Array, layer: "MaxPool | AvgPool") -> Padding:
    """Returns how a layer pads the rows and the columns of maps [B, H, W, C]."""
    margins = ((layer.padding, layer.padding),) * 2
    if not layer.ceil_mode:
        return margins
    rows, columns = (  # complete the last, partial window, as Caffe does
        (low, high - (size + low + high - layer.window) % -layer.stride)
        for size, (low, high) in zip(x.shape[1:3], margins, strict=True)
    )
    return rows, columns


class MaxPool(nn.Module):
    """The maximum over windows of [B, H, W, C]."""

    window: int
    stride: int
    padding: int = 0  # on every side
    ceil_mode: bool = False  # keep partial windows at the bottom and the right

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        padding = pool_padding(x, self)
        return pool.max_pool(x, self.window, self.stride, padding)


class AvgPool(nn.Module):
    """The mean over windows of [B, H, W, C]."""

    window: int
    stride: int
    padding: int = 0  # on every side
    ceil_mode: bool = False  # keep partial windows at the bottom and the right
    count_padding: bool = True  # as zeros; else the mean of the map's own elements

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        padding = pool_padding(x, self)
        return pool.avg_pool(x, self.window, self.stride, padding, self.count_padding)


class GlobalAvgPool(nn.Module):
    """The mean over all positions: [B, H, W, C] -> [B, C] (Lin et al. 2013).

    In a network that slides, of each window as large as one image's map: [B, h, w, C].
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if (windows := sliding.windows()) is None:
            return x.mean(axis=(1, 2))
        return nn.avg_pool(x, pair(windows["/".join(self.path)]))


class LocalResponseNorm(nn.Module):
    """Divides by (k + alpha * sum of the squares of adjacent maps) ** 0.75.

    Krizhevsky et al. 2012, Section 3.3, with its constants. Caffe and PyTorch divide
    alpha by the number of maps: their 5e-4 gives the same function.
    """

    groups: int = 1  # neighbours come from the same group
    num_maps: int = 5
    k: float = 2.0
    alpha: float = 1e-4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        grouped = x.reshape(*x.shape[:-1], self.groups, -1).astype(jnp.float32)
        margins = [(0, 0)] * (grouped.ndim - 1) + [(self.num_maps // 2,) * 2]
        squares = jnp.pad(jnp.square(grouped), margins)
        size = grouped.shape[-1]
        total = sum(squares[..., i : i + size] for i in range(self.num_maps))
        scale = self.k + self.alpha * norm_relu.keep_gradient(total)
        # scale ** -0.75, by roots: processors have instructions for roots.
        normed = grouped * lax.rsqrt(scale * jnp.sqrt(scale))
        return norm_relu.keep_gradient(normed.reshape(x.shape).astype(x.dtype))


def concatenate(*branches: jax.Array) -> jax.Array:
    """Joins the maps of all branches: [B, H, W, C_i] -> [B, H, W, sum of C_i]."""
    return jnp.concatenate(branches, axis=-1)


def keep_aux_logits(head: nn.Module, logits: jax.Array) -> None:
    """Stores an auxiliary head's logits in the collection ``aux_logits``."""
    keep: Any = {"reduce_fn": lambda _, new: new, "init_fn": lambda: None}
    head.sow("aux_logits", "logits", logits, **keep)

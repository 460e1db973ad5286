"""Counts the operations and the memory of a training step.

The backward pass of a convolution or dense layer costs two more forward passes: one for
the gradient of its weights, one for the gradient of its input. Layers whose input is
the image need only the first.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.extend import core
from ml_collections import ConfigDict

from cnn_arch.costs import operations
from cnn_arch.costs.layers import Costs, LayerCost
from cnn_arch.costs.walk import inner_jaxpr
from cnn_arch.models import init_variables
from cnn_arch.training.optimizer import make_optimizer


@dataclasses.dataclass(frozen=True)
class TrainingCosts:
    """Costs of one step, for the whole batch."""

    forward_flops: int  # of convolutions and dense layers, auxiliary heads included
    backward_flops: int  # of the same layers
    update_flops: int  # of the optimizer, for any batch
    parameter_bytes: int  # with BatchNorm's statistics
    gradient_bytes: int  # with accumulate, of the sum and of a part
    optimizer_bytes: int  # of its state, such as momentum, and of averaged parameters
    image_bytes: int
    activation_bytes: int  # that the forward pass keeps for the backward pass
    bytes_of_one_more: int  # images and activations of one more image
    batch: int  # number of images
    accumulate: int = 1  # parts of the batch; only one has its activations in memory

    @property
    def total_bytes(self) -> int:
        """All bytes together."""
        fixed = self.parameter_bytes + self.gradient_bytes + self.optimizer_bytes
        return fixed + self.image_bytes + self.activation_bytes

    def largest_batch(self, memory_bytes: int, *, with_gradients: bool = False) -> int:
        """Returns the number of images that fit in a device's memory; may be 0.

        Args:
          memory_bytes: of the device.
          with_gradients: also keep the gradient of each activation, as programs of
            AlexNet's time did; today it is freed after its use.
        """
        growth = self.bytes_of_one_more * (2 if with_gradients else 1)
        fixed = self.total_bytes - self.batch * self.bytes_of_one_more
        largest = max(0, (memory_bytes - fixed) // growth)
        return largest // self.accumulate * self.accumulate


def training_costs(
    model: Any,
    rows: Sequence[LayerCost],
    optimizer: optax.GradientTransformation,
    batch: int,
    accumulate: int = 1,
) -> TrainingCosts:
    """Counts a step from shapes; compiles nothing.

    ``rows`` are the model's layers at this batch, from the image to auxiliary heads.
    The batch is computed in ``accumulate`` parts.
    """
    part = -(-batch // accumulate)
    image_size, _, channels = rows[0].output_shape
    variables = jax.eval_shape(
        lambda key: init_variables(model, key, image_size, channels), jax.random.key(0)
    )
    params = variables["params"]
    state = jax.eval_shape(optimizer.init, params)

    with_error = optax.with_extra_args_support(optimizer)

    def update(params: Any, state: Any):
        updates, state = with_error.update(params, state, params, error=jnp.zeros(()))
        return optax.apply_updates(params, updates), state

    image, more = (
        jax.ShapeDtypeStruct((size, image_size, image_size, channels), jnp.float32)
        for size in (part, part + 1)
    )
    image_bytes = num_bytes(image) // part
    activations = kept_bytes(model, variables, image)
    growth = kept_bytes(model, variables, more) - activations
    forward = sum(row.flops for row in rows)
    first_names = first_layers(rows)
    first = sum(row.flops for row in rows if row.name in first_names)
    return TrainingCosts(
        forward_flops=forward,
        backward_flops=2 * forward - first,
        update_flops=_operations(jax.make_jaxpr(update)(params, state).jaxpr),
        parameter_bytes=num_bytes(variables),
        gradient_bytes=num_bytes(params) * (2 if accumulate > 1 else 1),
        optimizer_bytes=num_bytes(state),
        image_bytes=batch * image_bytes,
        activation_bytes=activations,
        bytes_of_one_more=-(-growth // accumulate) + image_bytes,
        batch=batch,
        accumulate=accumulate,
    )


def of_config(config: ConfigDict, costs: Costs) -> TrainingCosts:
    """Counts a step of a recipe's training."""
    schedule = optax.constant_schedule(config.optim.learning_rate)
    optimizer = make_optimizer(config, schedule)
    counted = training_costs(
        costs.model, costs.rows, optimizer, config.batch_size, config.accumulate
    )
    if config.optim.average == "none":
        return counted
    average_bytes = counted.gradient_bytes // (2 if config.accumulate > 1 else 1)
    return dataclasses.replace(
        counted,
        # old + share * (new - old), which is kept beside the parameters
        update_flops=counted.update_flops + 3 * average_bytes // 4,
        optimizer_bytes=counted.optimizer_bytes + average_bytes,
    )


def as_record(counted: TrainingCosts, memory_bytes: int | None) -> dict[str, int]:
    """Returns all numbers by name, with the largest batches if a memory is given."""
    record = dataclasses.asdict(counted) | {"total_bytes": counted.total_bytes}
    if memory_bytes is not None:
        record |= {
            "memory_bytes": memory_bytes,
            "largest_batch": counted.largest_batch(memory_bytes),
            "largest_batch_with_gradients": counted.largest_batch(
                memory_bytes, with_gradients=True
            ),
        }
    return record


def first_layers(rows: Sequence[LayerCost]) -> set[str]:
    """Returns the image, and all layers without parameters between them and it."""
    first, before_params = set(), set()
    for row in rows:
        if before_params.issuperset(row.inputs):
            first.add(row.name)
            if not row.params:
                before_params.add(row.name)
    return first


def kept_bytes(model: Any, variables: Any, image: Any) -> int:
    """Returns the bytes that the forward pass keeps for the backward pass.

    Counted in the traced program, without parameters and images, which are in memory
    anyway. XLA may keep less and compute some again; it also needs working space.
    Variables and images may be arrays or shapes.
    """

    def kept(variables: Any, image: jax.Array, key: jax.Array) -> list[Any]:
        def outputs(params: Any):
            logits, updates = model.apply(
                {**variables, "params": params},
                image,
                train=True,
                mutable=["batch_stats", "aux_logits"],
                rngs={"dropout": key},
            )
            return logits, updates.get("aux_logits", {})

        _, backward = jax.vjp(outputs, variables["params"])
        return jax.tree.leaves(backward)

    key = jax.eval_shape(lambda: jax.random.key(0))
    jaxpr = jax.make_jaxpr(kept)(variables, image, key).jaxpr
    outputs = {each for each in jaxpr.outvars if not isinstance(each, core.Literal)}
    return num_bytes([output.aval for output in outputs - set(jaxpr.invars)])


def num_bytes(tree: Any) -> int:
    """Returns the bytes of all arrays, or shapes, of a tree."""
    return sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def _operations(jaxpr: core.Jaxpr) -> int:
    """Counts the elementwise operations of a program."""
    total = 0
    for equation in jaxpr.eqns:
        inner = inner_jaxpr(equation)
        total += _operations(inner) if inner else operations.count(equation).others
    return total

"""What a step of training costs: operations, and bytes of memory.

The backward pass of a convolution or dense layer is two more of its size: the gradient
with respect to its weights, and that with respect to its input, which the layers that
see the image do not need.
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
    """Costs of one step; bytes that grow with the batch are of the whole batch.

    Attributes:
      forward_flops: of convolutions and dense layers, with auxiliary heads.
      backward_flops: of the same.
      update_flops: of the optimizer, for all parameters, whatever the batch.
      parameter_bytes: of parameters and BatchNorm's statistics.
      gradient_bytes: of the parameters' gradients.
      optimizer_bytes: of the optimizer's state, such as momentum.
      image_bytes: of the images.
      activation_bytes: of what the forward pass keeps for the backward pass.
      bytes_of_one_more: images and activations that one more image brings.
      batch: number of images.
    """

    forward_flops: int
    backward_flops: int
    update_flops: int
    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    image_bytes: int
    activation_bytes: int
    bytes_of_one_more: int
    batch: int

    @property
    def fixed_bytes(self) -> int:
        """Bytes that do not grow with the batch."""
        return self.parameter_bytes + self.gradient_bytes + self.optimizer_bytes

    @property
    def total_bytes(self) -> int:
        """All of them together."""
        return self.fixed_bytes + self.image_bytes + self.activation_bytes

    def largest_batch(self, memory_bytes: int, *, with_gradients: bool = False) -> int:
        """Returns how many images fit; 0: not even one.

        Args:
          memory_bytes: of the device.
          with_gradients: each activation's gradient stays beside it, as in programs of
            AlexNet's time; today a gradient goes once it has been used.
        """
        growth = self.bytes_of_one_more * (2 if with_gradients else 1)
        fixed = self.total_bytes - self.batch * self.bytes_of_one_more
        return max(0, (memory_bytes - fixed) // growth)


def training_costs(
    model: Any,
    rows: Sequence[LayerCost],
    optimizer: optax.GradientTransformation,
    batch: int,
) -> TrainingCosts:
    """Counts a step from shapes; nothing is compiled.

    Args:
      model: what ``create_model`` made.
      rows: its layers at this batch, the image first, with auxiliary heads.
      optimizer: from ``make_optimizer``.
      batch: number of images.
    """
    image_size, _, channels = rows[0].output_shape
    variables = jax.eval_shape(
        lambda key: init_variables(model, key, image_size, channels), jax.random.key(0)
    )
    params = variables["params"]
    state = jax.eval_shape(optimizer.init, params)

    def update(params: Any, state: Any):
        updates, state = optimizer.update(params, state, params)
        return optax.apply_updates(params, updates), state

    image, more = (
        jax.ShapeDtypeStruct((size, image_size, image_size, channels), jnp.float32)
        for size in (batch, batch + 1)
    )
    activations = kept_bytes(model, variables, image)
    growth = kept_bytes(model, variables, more) - activations
    forward = sum(row.flops for row in rows)
    first = sum(row.flops for row in rows if sees_image_only(row, rows))
    return TrainingCosts(
        forward_flops=forward,
        backward_flops=2 * forward - first,
        update_flops=_operations(jax.make_jaxpr(update)(params, state).jaxpr),
        parameter_bytes=num_bytes(variables),
        gradient_bytes=num_bytes(params),
        optimizer_bytes=num_bytes(state),
        image_bytes=num_bytes(image),
        activation_bytes=activations,
        bytes_of_one_more=growth + num_bytes(image) // batch,
        batch=batch,
    )


def of_config(config: ConfigDict, costs: Costs) -> TrainingCosts:
    """Counts a step of a recipe's training."""
    schedule = optax.constant_schedule(config.optim.learning_rate)
    optimizer = make_optimizer(config, schedule)
    return training_costs(costs.model, costs.rows, optimizer, config.batch_size)


def as_record(counted: TrainingCosts, memory_bytes: int | None) -> dict[str, int]:
    """Returns all numbers by name; with those for a memory, if one is given."""
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


def sees_image_only(row: LayerCost, rows: Sequence[LayerCost]) -> bool:
    """Says whether nothing with parameters lies between the image and a layer."""
    by_name = {other.name: other for other in rows}

    def bare(name: str) -> bool:
        source = by_name[name]
        return not source.params and all(map(bare, source.inputs))

    return bool(row.inputs) and all(map(bare, row.inputs))


def kept_bytes(model: Any, variables: Any, image: Any) -> int:
    """Returns the bytes that the forward pass keeps for the backward pass.

    As the traced program says: parameters and images, which are there anyhow, are left
    out. XLA may keep less, by computing some of it again, and needs room to work.

    Args:
      model: what ``create_model`` made.
      variables: shapes of its variables.
      image: shape of a batch, float32.
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
    there = set(jaxpr.invars)
    new = {
        variable
        for variable in jaxpr.outvars
        if not isinstance(variable, core.Literal) and variable not in there
    }
    return num_bytes([variable.aval for variable in new])


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

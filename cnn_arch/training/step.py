"""One step of training, written for one device of the mesh.

The whole step is one ``jax.shard_map`` inside one ``jax.jit``: the code below sees its
own share of the batch, and of a network that is split its share of that; what crosses
devices is written out (``pmean``, ``psum``, and ops/split.py).

Whatever crosses devices forward, its transpose carries gradients back, so that a device
differentiates the sum of all devices' losses. Hence each one's loss is its share of the
whole, 1 / devices of its mean, and the gradient of an array is the sum over the mesh
axes on which every device holds that array whole.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from cnn_arch.checkpoints.state import TrainState
from cnn_arch.data.device import augment, normalise
from cnn_arch.errors import UsageError
from cnn_arch.models import create_model, init_variables
from cnn_arch.ops.split import ALL as AXES
from cnn_arch.parallel.mesh import partition_specs
from cnn_arch.training.losses import cross_entropy

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]

# What a step draws random numbers for.
AUGMENTATION, DROPOUT = 0, 1


def build_model(config: ConfigDict, num_classes: int, *, loops: bool = True):
    """Makes the network that the config names, for use inside the step.

    Args:
      config: of the run.
      num_classes: the number of logits.
      loops: as ``scan_blocks`` and ``remat`` say; otherwise block by block.

    Raises:
      UsageError: there is no such network, or it has no blocks for a loop.
    """
    fields = dict(config.model.fields, dtype=jnp.dtype(config.precision))
    model: Any = create_model(config.model.name, num_classes, **fields)
    for field, setting in (("scan", "scan_blocks"), ("remat", "remat")):
        if loops and config[setting]:
            if not hasattr(model, field):
                raise UsageError(
                    f"--config.{setting}=true: {config.model.name} is not made of "
                    "equal blocks; only the residual networks are"
                )
            model = model.clone(**{field: True})
    if config.batch_norm_statistics == "global" and hasattr(model, "batch_norm_axis"):
        axes = AXES if config.mesh.model > 1 else "data"
        model = model.clone(batch_norm_axis=axes)
    check_split(config, model)
    return model


def check_split(config: ConfigDict, model: Any) -> None:
    """Checks that so many devices can share a network.

    Raises:
      UsageError: they cannot.
    """
    num_parts, name = config.mesh.model, config.model.name
    given = f"--config.mesh.model={num_parts}"
    if num_parts > 1 and not hasattr(model, "split_layers"):
        raise UsageError(
            f"{given}: {name} has nothing to split, only the AlexNets and the VGGs "
            "have; write --config.mesh.model=1"
        )
    groups = getattr(model, "groups", num_parts)
    if groups % num_parts:
        raise UsageError(
            f"{given}: must divide the groups of {name}, {groups}; write "
            f"--config.mesh.model={groups} or --config.model.fields.groups={num_parts}"
        )


def init_state(
    config: ConfigDict, model: Any, optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the state before the first step; on any mesh the same, but for rounding.

    Args:
      config: ``seed`` and ``data`` are read.
      model: from ``build_model``.
      optimizer: from ``make_optimizer``.
    """
    variables = init_variables(
        model,
        jax.random.key(config.seed),
        config.data.image_size,
        config.data.channels,
    )
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
    )


def step_key(seed: int, step: jax.Array | int, purpose: int) -> jax.Array:
    """Returns the random key of a step: for ``AUGMENTATION`` or for ``DROPOUT``."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.random.fold_in(key, purpose)


def make_train_step(
    config: ConfigDict,
    model: Any,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    mesh: Mesh,
) -> TrainStep:
    """Returns the jitted ``train_step(state, batch) -> (state, metrics)``.

    The state is donated. A batch holds ``image`` uint8 [B, H, W, C] and ``label``
    int32 [B], split over the mesh axis "data". Metrics are float32 scalars over the
    whole batch: ``loss`` in nats, without that of auxiliary heads, ``top1_error`` in
    percent, ``gradient_norm`` before weight decay, and the ``learning_rate`` of this
    step.
    """
    global_statistics = config.batch_norm_statistics == "global"
    # XLA would copy what is added up over a single device.
    axes = [axis for axis in AXES if mesh.shape[axis] > 1]

    def add_up(grad: jax.Array, spec: P) -> jax.Array:
        others = [axis for axis in axes if axis not in spec]
        return lax.psum(grad, others) if others else grad

    def loss_and_outputs(params: Any, state: TrainState, batch: Batch):
        key = step_key(config.seed, state.step, AUGMENTATION)
        first_row = lax.axis_index("data") * len(batch["image"])
        image = augment(batch["image"], key, config.data, first_row)
        key = step_key(config.seed, state.step, DROPOUT)
        logits, updates = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            normalise(image, config.data.mean, config.data.std),
            train=True,
            mutable=["batch_stats", "aux_logits"],
            rngs={"dropout": key},
        )

        def loss_of(logits: jax.Array) -> jax.Array:
            smoothing = config.label_smoothing
            return cross_entropy(logits, batch["label"], smoothing).mean()

        loss = loss_of(logits)
        aux_logits = jax.tree.leaves(updates.get("aux_logits", {}))
        total = loss + config.aux_weight * sum(map(loss_of, aux_logits))
        return total / mesh.size, (loss, logits, updates.get("batch_stats", {}))

    def device_step(
        specs: Any, state: TrainState, batch: Batch
    ) -> tuple[TrainState, Metrics]:
        gradient = jax.value_and_grad(loss_and_outputs, has_aux=True)
        (_, outputs), grads = gradient(state.params, state, batch)
        loss, logits, batch_stats = outputs
        # The compiled program tells these scopes of what crosses devices.
        with jax.named_scope("gradients"):
            grads = jax.tree.map(add_up, grads, specs)
        if not global_statistics and axes:  # each device has its own; keep their mean
            with jax.named_scope("statistics"):
                batch_stats = lax.pmean(batch_stats, axes)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        with jax.named_scope("metrics"):
            wrong = logits.argmax(axis=-1) != batch["label"]
            metrics = {
                "loss": lax.pmean(loss, "data"),
                "top1_error": 100 * lax.pmean(wrong.mean(), "data"),
                "gradient_norm": norm_of_shares(grads, specs),
                "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
            }
        state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return state, metrics

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        specs = partition_specs(state, model, mesh)
        # check_vma off: gradients are added up by device_step, not by shard_map.
        return jax.shard_map(
            partial(device_step, specs.params),
            mesh=mesh,
            in_specs=(specs, P("data")),
            out_specs=(specs, P()),
            check_vma=False,
        )(state, batch)

    return jax.jit(step, donate_argnums=0)


def norm_of_shares(tree: Any, specs: Any) -> jax.Array:
    """Returns the norm of arrays of which each device holds its share or all."""
    leaves = zip(jax.tree.leaves(tree), jax.tree.leaves(specs), strict=True)
    shares: list[jax.Array] = []
    whole: list[jax.Array] = []
    for leaf, spec in leaves:
        (shares if "model" in spec else whole).append(leaf)
    square = optax.tree.norm(whole, squared=True)
    if shares:
        square += lax.psum(optax.tree.norm(shares, squared=True), "model")
    return jnp.sqrt(square)

"""One step of training, written for one device of the mesh.

The whole step is one ``jax.shard_map`` inside one ``jax.jit``. Each device executes the
code below on its part of the batch and, if the network is split, on its part of the
layers. All communication is explicit (``pmean``, ``psum``, and ops/split.py).

The transpose of each collective sends gradients back, so each device differentiates the
sum of all losses. Each loss is therefore scaled by 1 / number of devices, and each
gradient is summed over the mesh axes along which its array is replicated.

With ``accumulate``, a device computes its images in parts, one after another, and adds
up their gradients: only one part's activations are in memory. Images, targets and
dropped units are those of the whole batch.
"""

import dataclasses
from collections.abc import Collection, Sequence
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
from cnn_arch.data import mixing
from cnn_arch.data.device import training_images
from cnn_arch.models import init_variables
from cnn_arch.models.inspection import Layer
from cnn_arch.ops.split import ALL as AXES
from cnn_arch.ops.split import part_of_batch
from cnn_arch.parallel.mesh import partition_specs
from cnn_arch.training import (
    frozen,
    layer_gradients,
    losses,
    schedules,
    update_rules,
)

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]

AUGMENTATION, DROPOUT = 0, 1  # the purposes of a step's random numbers


def init_state(
    config: ConfigDict, model: Any, optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the state before the first step: on any mesh the same, up to rounding."""
    key, data = jax.random.key(config.seed), config.data
    variables = init_variables(model, key, data.image_size, data.channels)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        average=update_rules.initial_average(config.optim, variables["params"]),
    )


def step_key(seed: int, step: jax.Array | int, purpose: int) -> jax.Array:
    """Returns the random key of a step for ``AUGMENTATION`` or for ``DROPOUT``."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.random.fold_in(key, purpose)


def network_input(
    config: ConfigDict, step: jax.Array | int, batch: Batch
) -> tuple[jax.Array, losses.Target]:
    """Returns the images that the network is fed in a step, and what it should answer.

    Call it on each device of the mesh axis "data", with the device's part of the batch.
    The pictures of preview.py are these images.
    """
    data, label = config.data, batch["label"]
    key = step_key(config.seed, step, AUGMENTATION)
    first_row = lax.axis_index("data") * len(label)
    image = training_images(batch["image"], key, data, first_row)
    target = losses.Target(label, config.label_smoothing)
    if data.mixup or data.cutmix:
        image, partner, share = mixing.mix(image, label, key, data)
        target = target.mixed_with(partner, share)
    return image, target


@dataclasses.dataclass(frozen=True)
class DeviceStep:
    """A training step: ``step`` runs on all devices, the private methods on one."""

    config: ConfigDict
    model: Any
    optimizer: optax.GradientTransformationExtraArgs
    schedule: optax.Schedule
    mesh: Mesh
    frozen_layers: Collection[frozen.Layer] = ()  # layers that do not learn
    class_weights: jax.Array | None = None  # [K], in the loss
    logged_layers: Sequence[Layer] = ()  # whose gradients' norms are returned

    def step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Makes one update.

        A batch has ``image`` uint8 [B, H, W, C] and ``label`` int32 [B], split over the
        mesh axis "data". Metrics are float32 scalars over the whole batch: ``loss`` in
        nats, without auxiliary heads and class weights; ``top1_error`` in percent;
        ``gradient_norm`` before clipping and weight decay; and the ``learning_rate`` of
        this step. With ``logged_layers``, there are their norms too, a vector.
        """
        specs = partition_specs(state, self.model, self.mesh)
        # check_vma off: _on_device sums the gradients, shard_map must not do so again.
        return jax.shard_map(
            partial(self._on_device, specs.params),
            mesh=self.mesh,
            in_specs=(specs, P("data")),
            out_specs=(specs, P()),
            check_vma=False,
        )(state, batch)

    def _on_device(
        self, specs: Any, state: TrainState, batch: Batch
    ) -> tuple[TrainState, Metrics]:
        image, target = network_input(self.config, state.step, batch)
        grads, (loss, logits, batch_stats) = self._gradients(state, image, target)
        # scaling/collectives.py finds these scopes in the compiled program.
        with jax.named_scope("gradients"):
            grads = jax.tree.map(self._add_up, grads, specs)
        if self.config.batch_norm_statistics == "per_device" and self._axes:
            with jax.named_scope("statistics"):
                batch_stats = lax.pmean(batch_stats, self._axes)
        with jax.named_scope("metrics"):
            wrong = logits.argmax(axis=-1) != batch["label"]
            norm = _norm(grads, specs)
            metrics = {
                "loss": lax.pmean(loss, "data"),
                "top1_error": 100 * lax.pmean(wrong.mean(), "data"),
                "gradient_norm": norm,
                "learning_rate": schedules.current_rate(
                    self.config.optim, self.schedule, state
                ),
            }
            if layers := self.logged_layers:
                by_layer = layer_gradients.norms(grads, specs, layers)
                metrics[layer_gradients.METRIC] = by_layer
        if longest := self.config.optim.clip_norm:
            factor = jnp.minimum(1.0, longest / norm)
            grads = jax.tree.map(lambda grad: factor * grad, grads)
        updates, opt_state = self.optimizer.update(
            grads, state.opt_state, state.params, error=metrics["top1_error"]
        )
        new = optax.apply_updates(state.params, updates), batch_stats, opt_state
        old = state.params, state.batch_stats, state.opt_state
        params, batch_stats, opt_state = frozen.keep(self.frozen_layers, new, old)
        average = state.average
        if average is not None:
            average = update_rules.next_average(
                self.config.optim, average, params, state.step + 1
            )
        state = TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            average=average,
        )
        return state, metrics

    def _gradients(
        self, state: TrainState, image: jax.Array, target: losses.Target
    ) -> tuple[Any, Any]:
        """Returns the gradients of this device's share of the loss.

        And the mean of the loss, the logits, and BatchNorm's statistics. Each part of a
        batch changes the running averages of the last step; the mean of the results is
        kept, as of several devices with ``per_device``.
        """
        gradient = jax.grad(self._loss, has_aux=True)
        count = self.config.accumulate
        if count == 1:
            return gradient(state.params, state, image, target)

        def add_part(total: Any, index: jax.Array) -> tuple[Any, jax.Array]:
            def take(rows: jax.Array) -> jax.Array:
                in_parts = rows.reshape(-1, count, *rows.shape[1:])
                return in_parts[:, index]

            with part_of_batch(index, count):
                grads, (loss, logits, batch_stats) = gradient(
                    state.params, state, take(image), target.of_rows(take)
                )
            return jax.tree.map(jnp.add, total, (grads, loss, batch_stats)), logits

        nothing = jax.tree.map(
            jnp.zeros_like, (state.params, jnp.zeros(()), state.batch_stats)
        )
        (grads, *sums), logits = lax.scan(add_part, nothing, jnp.arange(count))
        loss, batch_stats = jax.tree.map(lambda each: each / count, sums)
        logits = logits.swapaxes(0, 1).reshape(len(image), -1)  # in the batch's order
        return grads, (loss, logits, batch_stats)

    def _loss(
        self, params: Any, state: TrainState, image: jax.Array, target: losses.Target
    ) -> tuple[Any, Any]:
        """Returns some images' share of the loss; and loss, logits and statistics."""
        config = self.config
        params = frozen.stop_gradients(self.frozen_layers, params)
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, updates = self.model.apply(
            variables | frozen.marks(self.frozen_layers),
            image,
            train=True,
            mutable=["batch_stats", "aux_logits"],
            rngs={"dropout": step_key(config.seed, state.step, DROPOUT)},
        )

        def loss_of(logits: jax.Array, weights: jax.Array | None) -> jax.Array:
            if weights is None:
                return losses.LOSSES[config.loss](logits, target).mean()
            return losses.weighted_mean(config.loss, logits, target, weights)

        weights = self.class_weights
        loss = loss_of(logits, None)
        main = loss if weights is None else loss_of(logits, weights)
        aux_logits = jax.tree.leaves(updates.get("aux_logits", {}))
        aux_loss = sum(loss_of(logits, weights) for logits in aux_logits)
        total = main + config.aux_weight * aux_loss
        outputs = loss, logits, updates.get("batch_stats", {})
        return total / (self.mesh.size * config.accumulate), outputs

    @property
    def _axes(self) -> list[str]:
        """The axes with several devices; a sum over one would cost a copy in XLA."""
        return [axis for axis in AXES if self.mesh.shape[axis] > 1]

    def _add_up(self, grad: jax.Array, spec: P) -> jax.Array:
        axes = [axis for axis in self._axes if axis not in spec]
        return lax.psum(grad, axes) if axes else grad


def _norm(tree: Any, specs: Any) -> jax.Array:
    """Returns the norm of arrays that are split over the "model" axis or replicated."""
    split, replicated = [], []
    for leaf, spec in zip(jax.tree.leaves(tree), jax.tree.leaves(specs), strict=True):
        (split if "model" in spec else replicated).append(leaf)
    square = optax.tree.norm(replicated, squared=True)
    if split:
        square += lax.psum(optax.tree.norm(split, squared=True), "model")
    return jnp.sqrt(square)

"""The worker of train_step.py in plain Flax, with XLA's default flags."""

from functools import partial
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from plain_flax import make_network
from worker import serve

OPTIMIZER = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.01, 0.9))


def init_state(model: Any, key: jax.Array, image: jax.Array):
    """Returns parameters, statistics, the optimizer's state and the step."""
    # train=True: the auxiliary heads get parameters too.
    keys = {"params": key, "dropout": key}
    variables = model.init(keys, jnp.zeros_like(image[:1]), train=True)
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return params, batch_stats, OPTIMIZER.init(params), jnp.zeros((), jnp.int32)


def make_train_step(model: Any, key: jax.Array, label: jax.Array):
    """Returns the training step, not compiled."""

    def cross_entropy(logits):
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    def train_step(state, image):
        params, batch_stats, opt_state, step = state

        def loss_of(params):
            outputs, updates = model.apply(
                {"params": params, "batch_stats": batch_stats},
                image,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.fold_in(key, step)},
            )
            logits, *auxiliary = map(cross_entropy, outputs)
            return logits + 0.3 * sum(auxiliary), updates.get("batch_stats", {})

        (loss, new_stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        return (params, new_stats, opt_state, step + 1), loss

    return train_step


def prepare(case: dict):
    """Makes the network and its steps; returns the facts and the passes."""
    dtype = jnp.bfloat16 if case["precision"] == "bf16" else jnp.float32
    model = make_network(case["network"], case["num_classes"], dtype)
    key = jax.random.key(0)
    shape = (case["batch_size"], case["image_size"], case["image_size"], 3)
    image = jax.random.normal(key, shape)
    label = jax.random.randint(key, shape[:1], 0, case["num_classes"])

    @jax.jit
    def eval_step(state, image):
        params, batch_stats, *_ = state
        variables = {"params": params, "batch_stats": batch_stats}
        return model.apply(variables, image, train=False)[0]

    compiled = jax.jit(make_train_step(model, key, label), donate_argnums=0)
    state = jax.jit(partial(init_state, model))(key, image)

    def train() -> None:
        nonlocal state
        state, loss = compiled(state, image)
        jax.block_until_ready((state, loss))

    def forward() -> None:
        eval_step(state, image).block_until_ready()

    facts = {"versions": {"jax": jax.__version__, "flax": flax.__version__}}
    return facts, {"train": train, "forward": forward}


if __name__ == "__main__":
    serve(prepare)

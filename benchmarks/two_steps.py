"""The worker that times a recipe's training step with and without a change."""

from typing import Any

import jax
from ours import open_program
from train_step_ours import make_batch
from worker import Pass, serve

from cnn_arch import choices, settings
from cnn_arch.training.program import Program


def prepare(case: dict) -> tuple[dict, dict[str, Pass]]:
    """Compiles both steps; returns the facts and the passes."""
    plain = open_program(case["words"])
    config, _ = settings.parse([*case["words"], *case["changed"]])
    config = settings.derive(config, choices.placeholders(config))
    changed = Program(config, plain.num_classes, plain.mesh)
    batch = make_batch(plain)
    facts = {"versions": {"jax": jax.__version__}}
    return facts, {"plain": step_of(plain, batch), "changed": step_of(changed, batch)}


def step_of(program: Program, batch: dict[str, jax.Array]) -> Pass:
    """Returns the training step of a program that it compiles."""
    program.compile()
    state: Any = program.initialise()

    def train() -> None:
        nonlocal state
        state, metrics = program.train_step(state, batch)
        jax.block_until_ready((state, metrics))

    return train


if __name__ == "__main__":
    serve(prepare)

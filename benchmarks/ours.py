"""This project's side: the training and the evaluation step, made as train.py does."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # as train.py

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch import session, settings
from cnn_arch.evaluation.one_crop import make_eval_step
from cnn_arch.screen import Screen
from cnn_arch.training import optimizer, step


@dataclasses.dataclass(frozen=True)
class Program:
    """What train.py compiles.

    Attributes:
      config: of the run.
      mesh: of the devices.
      model: the network.
      fresh_state: makes the state before the first step.
      train_step: jitted.
      eval_step: jitted.
      state_shapes: the train step's first argument.
      batch_shapes: its second.
    """

    config: ConfigDict
    mesh: Mesh
    model: Any
    fresh_state: Callable[[], Any]
    train_step: Any
    eval_step: Any
    state_shapes: Any
    batch_shapes: Any


def open_program(words: Sequence[str]) -> Program:
    """Makes the steps of a run, without its data.

    Args:
      words: ``--config=FILE`` and its settings, as train.py takes them.
    """
    config, _ = settings.parse(words)
    mesh = session.open_devices(config, Screen(json=True))  # with its flags
    model = step.build_model(config, config.data.num_classes)
    schedule = optimizer.make_schedule(config, steps_per_epoch=1000)
    sgd = optimizer.make_optimizer(config, schedule)

    def fresh_state():
        return step.init_state(config, model, sgd)

    return Program(
        config=config,
        mesh=mesh,
        model=model,
        fresh_state=fresh_state,
        train_step=step.make_train_step(config, model, sgd, schedule, mesh),
        eval_step=make_eval_step(config, model, mesh),
        state_shapes=session.abstract(jax.eval_shape(fresh_state), model, mesh),
        batch_shapes=session.abstract_batch(config, mesh),
    )

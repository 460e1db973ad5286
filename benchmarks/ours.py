"""This project's side: the program that train.py compiles, without its data."""

import os
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # as train.py

from cnn_arch import settings
from cnn_arch.parallel.runtime import open_devices
from cnn_arch.screen import Screen
from cnn_arch.training.program import Program


def open_program(words: Sequence[str]) -> Program:
    """Makes the program of a run, without its data.

    Args:
      words: ``--config=FILE`` and its settings, as train.py takes them.
    """
    config, _ = settings.parse(words)
    mesh = open_devices(config, Screen(json=True))  # with its flags
    return Program(config, config.data.num_classes, mesh)

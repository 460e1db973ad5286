"""The program that train.py compiles, for this project's workers."""

import os
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # as in train.py

from cnn_arch import choices, settings
from cnn_arch.parallel.runtime import open_devices
from cnn_arch.screen import Screen
from cnn_arch.training.program import Program


def open_program(words: Sequence[str]) -> Program:
    """Makes a run's program, without its data, from the words of train.py."""
    config, _ = settings.parse(words)
    config = settings.derive(config, choices.placeholders(config))
    # Also sets train.py's flags of XLA. stdout is for the worker's answers.
    mesh = open_devices(config, Screen(json=True))
    return Program(config, config.data.num_classes, mesh)

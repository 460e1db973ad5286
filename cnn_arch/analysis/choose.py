"""Which network ``analyze.py`` looks at, and how large its images and batches are."""

import argparse
import difflib

from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.installation import recipes


def choose_network(options: argparse.Namespace, words: list[str]) -> ConfigDict:
    """Returns the recipe of the network, with the image size and batch asked for.

    Without ``--batch``: the recipe's own for ``--collectives`` and ``--scale``, else 1.

    Raises:
      UsageError: there is no such network, or a number cannot be.
    """
    if options.model:
        names = recipes()
        if options.model not in names:
            near = difflib.get_close_matches(options.model, names, n=3) or names
            raise UsageError(
                f"--model={options.model}: no such network; there are {', '.join(near)}"
            )
        words = [f"--config={options.model}", *words]
    elif not any(word.startswith("--config") for word in words):
        raise UsageError("--model: must be given, or --config, or --claims; see --help")
    config, _ = settings.parse(words)
    config = config.copy_and_resolve_references()
    for option, value in ("image_size", options.image_size), ("batch", options.batch):
        if value is not None and value < 1:
            raise UsageError(f"--{option}={value}: must be at least 1")
    with config.unlocked():
        if options.collectives:
            config.mesh.data = config.mesh.data or 2  # all there are: there are none
        if options.batch or not (options.collectives or options.scale):
            config.batch_size = options.batch or 1
        config.data.image_size = options.image_size or config.data.image_size
    return config

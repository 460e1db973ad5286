"""Chooses the network, and the size of its images and batches."""

from collections.abc import Sequence

from ml_collections import FrozenConfigDict

from cnn_arch import choices, hints, settings
from cnn_arch.errors import UsageError
from cnn_arch.installation import ROOT, recipes
from cnn_arch.setting_rules import RULES, explain


def choose(
    model: str | None, words: Sequence[str], image_size: int | None, batch: int | None
) -> FrozenConfigDict:
    """Returns the recipe of a network, with another image size and batch.

    Args:
      model: its name; None: ``words`` name the recipe.
      words: ``--config`` and settings, as for ``settings.parse``.
      image_size: px; None: the recipe's.
      batch: number of images; None: the recipe's.

    Raises:
      UsageError: there is no such network, or a number is not positive.
    """
    if model:
        words = [*_words_of(model), *words]
    elif not any(word.startswith("--config") for word in words):
        raise UsageError("--model: must be given, or --config, or --claims; see --help")
    config, _ = settings.parse(words)
    changes = choices.placeholders(config)
    for option, key, value in (
        ("image_size", "data.image_size", image_size),
        ("batch", "batch_size", batch),
    ):
        if value is None:
            continue
        if not RULES[key].follows(value):
            raise UsageError(f"--{option}={value}: {explain(RULES[key], value)}")
        changes[key] = value
    return settings.derive(config, changes)


def _words_of(model: str) -> list[str]:
    """Returns the words that name the recipe of a network.

    A network without a recipe gets the defaults of configs/base.py.
    """
    names = recipes()
    if model in names:
        return [f"--config={model}"]
    from cnn_arch.models import MODELS  # takes a second to import

    if model in MODELS:
        base = ROOT / "configs" / "base.py"
        return [f"--config={base}", f"--config.model.name={model}"]
    raise UsageError(f"--model={model}: no such network; {hints.choose(model, names)}")

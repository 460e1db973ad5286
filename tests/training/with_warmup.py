"""ResNet-20's recipe by epochs, with a warm-up."""

from tests.training import by_epochs


def get_config(data: str = "cifar10"):
    """Returns the recipe; ``data`` is what follows the colon."""
    config = by_epochs.get_config(data)
    config.optim.warmup_epochs = 1.0
    return config

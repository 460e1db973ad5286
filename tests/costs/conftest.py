"""Cost tables that several tests share, counted once."""

from functools import cache

from cnn_arch.costs.layers import LayerCost, layer_costs
from cnn_arch.models import create_model
from tests.paper_tables import TOTALS


@cache
def rows_of(network: str) -> tuple[LayerCost, ...]:
    """Returns a network's rows at the image size of its paper; of ours, CIFAR-10's."""
    image_size, channels, classes = TOTALS.get(network, (0, 0, 32, 3, 10))[2:]
    return tuple(layer_costs(create_model(network, classes), image_size, channels))

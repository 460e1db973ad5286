"""The costs of a run's network: counted, and measured if the run has done so."""

from functools import cache
from pathlib import Path

from cnn_arch import settings
from cnn_arch.catalogue.published import published_errors
from cnn_arch.run_directory import read_classes, read_times


@cache
def totals(workdir: Path) -> dict[str, int]:
    """Returns the sums of the network's costs, for one image of the run."""
    from cnn_arch.costs import layers, summary
    from cnn_arch.models.build import build_model

    if found := read_times(workdir):
        return found["totals"]
    config = settings.from_json(workdir / "config.json")
    classes = read_classes(workdir)
    model = build_model(config, len(classes), loops=False)
    data = config.data
    return summary.totals(layers.layer_costs(model, data.image_size, data.channels))


def parameters(workdir: Path, _: str) -> float:
    """Returns the number of the network's parameters."""
    return float(totals(workdir)["params"])


def million_macs(workdir: Path, _: str) -> float:
    """Returns the multiply-adds of an image, in millions."""
    return totals(workdir)["macs"] / 1e6


def megabytes_of_maps(workdir: Path, _: str) -> float:
    """Returns the memory of an image's maps as CS231n counts it, in MB of 10^6 bytes.

    They are the input and the outputs of convolutions, pools and dense layers.
    """
    return totals(workdir)["activation_bytes"] / 1e6


def speed(workdir: Path, batch: str, key: str) -> float | None:
    """Returns a number of the measured times; None: not of this batch or machine."""
    found = read_times(workdir)
    assert found, f"{workdir} has measured no times"
    return found["batches"].get(batch, {}).get(key)


def published_error(workdir: Path, _: str) -> float | None:
    """Returns the error of one network on ImageNet, that which compares best."""
    found = read_times(workdir)
    assert found, f"{workdir} has measured no times"
    errors = published_errors(found["network"], "ImageNet")
    return next((each.top1 for each in errors if each.top1 is not None), None)

"""The papers' tests, by name, and the evaluator of each."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from cnn_arch import settings
from cnn_arch.data import normalisation
from cnn_arch.data.boxes import PLAIN, Crops
from cnn_arch.data.sources import is_in_memory
from cnn_arch.data.views import SingleView, eval_size
from cnn_arch.data.whole_images import WholeImages
from cnn_arch.errors import UsageError
from cnn_arch.evaluation.evaluator import Evaluator
from cnn_arch.evaluation.many_views import ManyViews, Views
from cnn_arch.evaluation.network import Network
from cnn_arch.evaluation.one_crop import OneCrop
from cnn_arch.models.class_map import check_class_map
from cnn_arch.screen import Screen
from cnn_arch.training.program import Program

PAPER = "paper"  # the protocol of the recipe's paper
WHOLE_IMAGES = ("dense", "multi_scale")
# Shorter sides in px for crops of 224 px; of other sizes, in proportion.
PRINTED = {
    "multi_crop": (256, 384, 512),  # Simonyan and Zisserman 2014, Section 4.2
    "googlenet_144": (256, 288, 320, 352),  # Szegedy et al. 2014, Section 7
    "multi_scale": (224, 256, 384, 480, 640),  # He et al. 2015, Section 3.4
}
PRINTED_SIZE = 224


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A test: which views of an image a network sees, and what is averaged."""

    name: str  # of setting_rules.PROTOCOLS
    scales: tuple[int, ...]  # shorter sides of the resized image, px
    combine: str = "softmax"  # the mean is of probabilities, or of "logits"
    more_tops: tuple[int, ...] = ()  # k of top-k errors besides 1 and 5

    def is_one_crop(self, data: ConfigDict) -> bool:
        """Whether it shows the one view of validation."""
        usual = eval_size(data) if is_in_memory(data) else data.eval_resize
        return self.name in PLAIN and self.scales == (usual,)

    def suffix(self, data: ConfigDict) -> str:
        """Returns what its keys and files have after the name of the split.

        Nothing for the view of validation; ``_ten_crop``; with other scales than the
        protocol's ``_dense_256_384_512``; and ``_logits``.
        """
        if self.is_one_crop(data):
            return ""
        usual = of_name(self.name, data)
        parts: list[Any] = ["", self.name]
        parts += self.scales if self.scales != usual.scales else ()
        parts += ["logits"] if self.combine != usual.combine else ()
        return "_".join(map(str, parts))


def of_name(name: str, data: ConfigDict) -> Protocol:
    """Returns a protocol with its usual scales for the data of a config."""
    size = eval_size(data)
    scales = (data.eval_resize,)
    if name == "whole" or (name == "one_crop" and is_in_memory(data)):
        scales = (size,)
    elif name in PRINTED:
        scales = tuple(round(side * size / PRINTED_SIZE) for side in PRINTED[name])
    return Protocol(name, scales)


def of_recipe(config: ConfigDict) -> Protocol | None:
    """Returns the protocol of a config's paper, or None if it names none."""
    if config.test.protocol == "none":
        return None
    usual = of_name(config.test.protocol, config.data)
    scales = tuple(config.test.scales) or usual.scales
    return Protocol(usual.name, scales, config.test.combine)


def of_options(given: Mapping[str, str], config: ConfigDict) -> Protocol:
    """Returns the protocol that eval.py is asked for; without one, one crop.

    Raises:
      UsageError: it is the paper's, and the config names none.
    """
    name = given.get("protocol", "one_crop")
    protocol = of_recipe(config) if name == PAPER else of_name(name, config.data)
    if protocol is None:
        raise UsageError(
            "--protocol=paper: config.json names no protocol of a paper (it is of an "
            "earlier version, or the recipe has no paper); choose one, such as "
            "--protocol=ten_crop"
        )
    changes: dict[str, Any] = {}
    if "scales" in given:
        changes["scales"] = tuple(map(int, given["scales"].split(",")))
    if "combine" in given:
        changes["combine"] = given["combine"]
    if "top_k" in given:
        found = map(int, given["top_k"].split(","))
        changes["more_tops"] = tuple(k for k in found if k not in (1, 5))
    return dataclasses.replace(protocol, **changes)


def of_run(program: Program, screen: Screen) -> tuple[OneCrop, list[Evaluator]]:
    """Returns the evaluator of validation, and the paper's if that is another."""
    data = program.config.data
    evaluator = OneCrop(program.config, program.model, program.mesh)
    others: list[Evaluator] = []
    protocol = of_recipe(program.config)
    if protocol and not protocol.is_one_crop(data):
        try:
            others.append(make_evaluator(protocol, program, program.mesh, screen))
        except UsageError as error:  # the images are not the paper's
            reason = str(error).replace("--", "--config.test.")
            screen.warn(f"the paper's test is left out: {reason}")
    return evaluator, others


def make_evaluator(
    protocol: Protocol, network: Network | Program, mesh: Mesh, screen: Screen
) -> Evaluator:
    """Returns the evaluator of a protocol.

    Raises:
      UsageError: the protocol does not suit the network or the size of its images.
    """
    config, model, data = network.config, network.model, network.config.data
    if not protocol.is_one_crop(data):
        is_single = protocol.name in PLAIN and len(protocol.scales) == 1
        if not is_single or is_in_memory(data):
            return make_many_views(protocol, network, mesh, screen)
        check_scales(protocol, data)
        config = settings.derive(config, {"data.eval_resize": protocol.scales[0]})
    evaluator = OneCrop(config, model, mesh)
    evaluator.suffix, evaluator.more_tops = protocol.suffix(data), protocol.more_tops
    return evaluator


def make_many_views(
    protocol: Protocol, network: Network | Program, mesh: Mesh, screen: Screen
) -> ManyViews:
    """Returns the evaluator of a protocol, also if it shows one view only.

    Raises:
      UsageError: as ``make_evaluator``.
    """
    config, model, data = network.config, network.model, network.config.data
    views: Views = SingleView(data)
    if not protocol.is_one_crop(data):
        check_scales(protocol, data)
        views = Crops(protocol.name, protocol.scales, eval_size(data), data.flip)
    if protocol.name in WHOLE_IMAGES:
        try:
            check_class_map(model, config.model.name, eval_size(data), data.channels)
        except UsageError as error:
            raise UsageError(
                f"--protocol={protocol.name}: {error}; choose --protocol=ten_crop"
            ) from error
        views = WholeImages(protocol.scales, data.flip)
        config = _for_any_size(protocol, config, screen)
    evaluator = ManyViews(config, model, mesh, views, protocol.combine)
    evaluator.suffix, evaluator.more_tops = protocol.suffix(data), protocol.more_tops
    evaluator.description = {
        "protocol": describe(protocol, views.number, data),
        "scales": list(protocol.scales),
        "num_crops": views.number,
        "combine": protocol.combine,
    }
    return evaluator


def check_scales(protocol: Protocol, data: ConfigDict) -> None:
    """Checks that the scales leave room for the crops.

    Raises:
      UsageError: a scale is too small; the message has one that works.
    """
    size, smallest, name = eval_size(data), min(protocol.scales), protocol.name
    is_whole = name in WHOLE_IMAGES or name in PLAIN
    if smallest > size or (is_whole and smallest == size):
        return
    rule = f"at least {size}" if is_whole else f"more than {size}"
    fit = size if is_whole else max(size + 1, round(size * 256 / PRINTED_SIZE))
    raise UsageError(
        f"--protocol={name}: with a shorter side of {smallest} px, but it must be "
        f"{rule}, the size of the network's images; give --scales={fit}"
    )


def describe(protocol: Protocol, number: int, data: ConfigDict) -> str:
    """Returns the line of a protocol for the screen and for results.json."""
    scales = ", ".join(map(str, protocol.scales))
    if protocol.name in WHOLE_IMAGES:
        what = "whole images" + " and mirrored" * data.flip
    else:
        what = f"{number} crop{'s' * (number > 1)} of {eval_size(data)} px"
        mirrored = data.flip or protocol.name in PLAIN
        what += "" if mirrored else ", none mirrored (data.flip is false)"
    return f"{protocol.name}: {what}, shorter side {scales}; mean of {protocol.combine}"


def _for_any_size(protocol: Protocol, config: ConfigDict, screen: Screen) -> ConfigDict:
    """Returns the config with numbers for the normalisation of images of any size.

    Raises:
      UsageError: there are none.
    """
    if config.data.normalisation == "channels":
        return config
    if config.data.normalisation == "gcn_zca":
        raise UsageError(
            f"--protocol={protocol.name}: data.normalisation=gcn_zca whitens images of "
            f"{config.data.image_size} px only; choose --protocol=whole or "
            "--protocol=ten_crop"
        )
    mean = normalisation.channel_means(config.data)
    screen.say("", "whole images: the mean image's mean of each channel is subtracted")
    changes = {"normalisation": "channels", "mean": mean, "std": (1.0,) * len(mean)}
    return settings.derive(config, {f"data.{k}": v for k, v in changes.items()})

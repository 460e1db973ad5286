"""Which protocol an evaluation follows, and its names in files."""

import pytest

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.evaluation import protocols
from cnn_arch.evaluation.protocols import Protocol
from cnn_arch.setting_rules import PROTOCOLS


def parse(*words):
    return settings.parse([f"--config={words[0]}", *words[1:]])[0]


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        ("one_crop", (256,)),
        ("ten_crop", (256,)),
        ("multi_crop", (256, 384, 512)),
        ("googlenet_144", (256, 288, 320, 352)),
        ("multi_scale", (224, 256, 384, 480, 640)),
        ("whole", (224,)),
        ("dense", (256,)),
    ],
)
def test_the_scales_of_a_protocol_are_the_papers(name, scales):
    assert protocols.of_name(name, parse("resnet34").data).scales == scales


def test_scales_follow_the_size_of_the_images():
    data = parse("inception_v3").data
    assert protocols.of_name("googlenet_144", data).scales == (342, 384, 427, 470)
    small = parse("vgg16:folder", "--config.data.image_size=64")
    assert small.test.scales == (73, 110, 146)
    given = parse("vgg16", "--config.data.image_size=64", "--config.test.scales=(80,)")
    assert given.test.scales == (80,)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("alexnet", Protocol("ten_crop", (256,))),
        ("vgg16", Protocol("dense", (256, 384, 512))),
        ("vgg11", Protocol("dense", (224, 256, 288))),
        ("googlenet", Protocol("googlenet_144", (256, 288, 320, 352))),
        ("resnet50", Protocol("ten_crop", (256,))),
        ("resnet56", Protocol("whole", (32,))),
        ("cuda_convnet", Protocol("ten_crop", (32,))),
        ("resnet50_imagenet1k_v2", Protocol("one_crop", (232,))),
    ],
)
def test_the_protocol_of_a_recipe_is_its_papers(recipe, expected):
    config = parse(recipe)
    assert protocols.of_recipe(config) == expected
    assert protocols.of_options({"protocol": "paper"}, config) == expected
    logits = protocols.of_options({"protocol": "paper", "combine": "logits"}, config)
    assert logits == Protocol(expected.name, expected.scales, "logits")


def test_without_a_paper_there_is_no_protocol_of_it():
    config = parse("configs/base.py:mnist5k", "--config.model.name=lenet5")
    assert protocols.of_recipe(config) is None
    with pytest.raises(UsageError, match=r"names no protocol of a paper .* choose one"):
        protocols.of_options({"protocol": "paper"}, config)


def test_keys_of_one_crop_have_no_suffix_and_others_their_protocol():
    data = parse("resnet34").data
    assert Protocol("one_crop", (256,)).suffix(data) == ""
    assert Protocol("one_crop", (288,)).suffix(data) == "_one_crop_288"
    assert Protocol("ten_crop", (256,)).suffix(data) == "_ten_crop"
    assert Protocol("dense", (256, 384), "logits").suffix(data) == (
        "_dense_256_384_logits"
    )
    names = {protocols.of_name(name, data).suffix(data) for name in PROTOCOLS}
    assert len(names) == len(PROTOCOLS)
    of_cifar = parse("resnet20").data
    assert protocols.of_name("whole", of_cifar).suffix(of_cifar) == ""


def test_a_scale_without_room_for_the_crops_is_refused_with_one_that_works():
    data = parse("resnet34").data
    with pytest.raises(UsageError, match="it must be more than 224") as error:
        protocols.check_scales(Protocol("ten_crop", (224, 256)), data)
    fix = int(str(error.value).rpartition("=")[2])
    protocols.check_scales(Protocol("ten_crop", (fix,)), data)
    protocols.check_scales(Protocol("dense", (224,)), data)
    with pytest.raises(UsageError, match=r"at least 224, .* give --scales=224"):
        protocols.check_scales(Protocol("dense", (223,)), data)

"""Published errors: each belongs to a network of the catalogue and has a source."""

import pytest

from cnn_arch.catalogue.published import ERRORS, family, published_errors
from cnn_arch.models import MODELS
from tests.paper_tables import TOTALS


def test_each_error_is_plausible_and_has_a_source():
    for error in ERRORS:
        assert error.network in MODELS
        assert error.dataset in ("ImageNet", "CIFAR-10", "MNIST")
        assert error.source and error.protocol
        known = [value for value in (error.top1, error.top5) if value is not None]
        assert known and all(0 < value < 50 for value in known)
        assert sorted(known, reverse=True) == known  # the top-5 error is the smaller
    assert len(set(ERRORS)) == len(ERRORS)


@pytest.mark.parametrize(
    ("network", "top1", "top5"),
    [
        ("resnet18", 30.242, 10.922),  # torchvision: 69.758 and 89.078 % right
        ("alexnet", 42.9, 19.8),  # Caffe's readme: 57.1 and 80.2 % right
        ("resnet50", 24.7, 7.8),  # He's readme
        ("vgg16_c", 27.3, 8.8),  # Table 3 of the paper, the only source
        ("resnet110", 6.43, None),
    ],
)
def test_the_error_that_compares_best_comes_first(network, top1, top5):
    first = published_errors(network)[0]
    assert (first.top1, first.top5) == (top1, top5)


def test_every_paper_network_has_a_family():
    families = {"LeNet", "AlexNet", "VGG", "NiN", "Inception", "ResNet", "Plain"}
    assert {family(name)[0] for name in TOTALS} == families
    assert family("alexnet_owt")[1] == "Krizhevsky 2014"
    assert family("densenet121") == ("Others", "")

"""Simonyan and Zisserman 2014, Appendix B: features of VGG for other tasks."""

from configs.experiments import transfer

LAYERS = "pixels pool1 pool2 pool3 pool4 pool5 fc6 fc7".split()


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    alexnet = transfer.get_experiment()
    return {
        **alexnet,
        "claim": alexnet["claim"].replace("AlexNet", "VGG-11"),
        "sources": [
            *alexnet["sources"],
            "Simonyan and Zisserman 2014, Appendix B: the features before the last "
            "layer, for other data sets",
        ],
        "settings": {
            **alexnet["settings"],
            "config": "vgg11_bn",
            "data.image_size": 64,
        },
        "sizes": {
            "minutes": {"seeds": 1, "settings": {"epochs": 5.0}},
            "full": {"seeds": 3, "settings": {"epochs": 30.0}},
        },
        "measures": [*(f"probe_error:{layer}" for layer in LAYERS), "test_error"],
        "caveats": "VGG-11 with BatchNorm, so that a short run learns. "
        + alexnet["caveats"],
    }

"""He et al. 2015, Section 3.1 and Figure 7: blocks that are nearly the identity."""

from configs.experiments.base import D2L, difference, ratio, recipes

ZERO = "resnet56, blocks begin as the identity"


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    response, loss = "response:mean", "first_loss"
    return {
        "claim": "A residual block becomes the identity by driving its weights to zero "
        "(here: in trained networks the layers of residual blocks respond less than "
        "those of plain networks, and less in the deeper network; and with blocks that "
        "begin as the identity, a network begins with a lower loss).",
        "sources": [
            D2L,
            "He et al. 2015, Section 3.1; Section 4.2 and Figure 7: smaller responses "
            "than in plain networks, and smaller in deeper ones",
            "Goyal et al. 2017, Section 5.1: the last scale of each block begins as 0",
        ],
        "data": "cifar10",
        "variants": {
            **recipes("plain20", "plain56", "resnet20", "resnet56"),
            ZERO: {"config": "resnet56", "model.fields.zero_last_scale": True},
        },
        "settings": {
            "data.normalisation": "mean_image",
            # In a short run the running averages lag behind the weights.
            "batch_norm_images": 4096,
        },
        "sizes": {
            "minutes": {"seeds": 2, "settings": {"epochs": 0.15}},
            "full": {"seeds": 3, "settings": {"epochs": 4.0}},
        },
        "measures": [response, "response:largest", loss, "training_error"],
        "rule": [
            ratio(response, "resnet20", "plain20", below=1),
            ratio(response, "resnet56", "plain56", below=1),
            ratio(response, "resnet56", "resnet20", below=1),
            difference(loss, "resnet56", ZERO, above=0),
        ],
        "series": ["responses"],
        "figure": "layers",
        "caveats": "A response is the output of a 3x3 convolution after BatchNorm; its "
        "deviation is over 1,000 test images, with BatchNorm's statistics of 4,096 "
        "training images. At the start it is about 1, and in a short run it moves "
        "little from there: the paper trains for 164 epochs. The loss is that of the "
        "first batch of training images, before the first update, with BatchNorm's "
        "statistics of the batch.",
    }

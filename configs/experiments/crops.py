"""Krizhevsky et al. 2012 and Szegedy et al. 2014: the mean over crops of an image."""

from configs.experiments.base import paired_difference, recipes

NETWORKS = "cuda_convnet", "resnet20"
# As cuda_convnet's recipe: patches of 24 px, anywhere in the 32.
SETTINGS = {
    "data.normalisation": "mean_image",
    "data.image_size": 24,
    "data.train_crop": "scale_jitter_crop",
    "data.scale_min": 32,
    "data.scale_max": 32,
    "data.eval_resize": 32,
    "data.in_memory": False,
    "test.protocol": "none",
}


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    one, ten, many = (
        f"test_error_by:{protocol}"
        for protocol in ("one_crop", "ten_crop", "googlenet_144")
    )
    return {
        "claim": "The mean over ten crops of an image has a lower error than one crop, "
        "and that over 144 crops a little lower than ten (here: less than 2 points).",
        "sources": [
            "Krizhevsky et al. 2012, Section 6, footnote 5: top-5 errors of 18.3 % "
            "with one patch and 17.0 % with ten",
            "Szegedy et al. 2014, Table 3: top-5 errors of 10.07 % (1 crop), 9.15 % "
            "(10) and 7.89 % (144), at 1, 10 and 144 times the cost",
        ],
        "data": "cifar10",
        "variants": recipes(*NETWORKS),
        "settings": SETTINGS,
        "sizes": {
            # The 144 crops of 10,000 images take about as long as 12 epochs.
            "minutes": {
                "seeds": 3,
                "settings": {"epochs": 2.0},
                "variants": ["cuda_convnet"],
                "measures": [one, ten],
            },
            "full": {"seeds": 3, "settings": {"epochs": 10.0}},
        },
        "measures": [one, ten, many, "macs"],
        "rule": [
            comparison
            for name in NETWORKS
            for comparison in (
                paired_difference(ten, one, name, below=0),
                paired_difference(many, ten, name, above=-2, below=0),
            )
        ],
        "figure": "against",
        "caveats": "CIFAR-10's images are square, so the left, the central and the "
        "right square of the 144 are the same: 48 crops differ. They are of images "
        "enlarged or reduced to 27, 31, 34 and 38 px; the networks saw 32 px in "
        "training.",
    }

"""Donahue et al. 2013 (DeCAF): features of AlexNet's layers for another task."""

from configs.experiments.base import CS231N, difference, paired_difference


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    layers = "pixels", "pool1", "pool2", "conv3", "conv4", "pool5", "fc6", "fc7"
    probes = [f"probe_error:{layer}" for layer in layers]
    return {
        "claim": "The features of fc7 serve other tasks (here: on classes that AlexNet "
        "did not see, a linear classifier of them has a lower error than one of the "
        "pixels, and than one of the fc7 of a network that has not been trained).",
        "sources": [
            CS231N,
            "Donahue et al. 2013, abstract: fixed features of various levels of such a "
            "network, for new tasks",
        ],
        "data": "photographs",
        # Trained on every second class, in the order of their names. The probe is
        # fitted and tested on the others, so no image of its task was seen.
        "halves": True,
        "variants": {
            "trained": {},
            "not trained": {  # one step so small that the weights stay as drawn
                "steps": 1,
                "optim.learning_rate": 1e-9,
                "optim.min_rate": 0.0,
            },
        },
        "settings": {
            "config": "alexnet",
            "data.image_size": 96,
            "test.protocol": "none",
        },
        "sizes": {
            "minutes": {"seeds": 2, "settings": {"epochs": 10.0}},
            "full": {"seeds": 3, "settings": {"epochs": 45.0}},
        },
        "measures": [*probes, "test_error"],
        "rule": [
            difference("probe_error:fc7", "not trained", "trained", above=0),
            paired_difference(
                "probe_error:pixels", "probe_error:fc7", "trained", above=0
            ),
        ],
        "figure": "against",
        "caveats": "The probe is ridge regression to one-hot targets, one image as in "
        "evaluation, and its penalty is that with the lowest error on validation "
        "images of its own task. Both tasks are of one set of photographs, so they are "
        "closer to each other than ImageNet is to other tasks.",
    }

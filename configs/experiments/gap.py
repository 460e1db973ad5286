"""Lin et al. 2013, Section 4.6: global average pooling against a dense layer."""

from configs.experiments.base import CS231N, D2L, difference, ratio


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    dense = {"model.fields.head": "dense"}
    return {
        "claim": "Global average pooling in place of a dense layer has fewer "
        "parameters, over-fits less and has a lower test error.",
        "sources": [
            CS231N,
            D2L,
            "Lin et al. 2013, Section 4.6, on CIFAR-10; Table 1: 10.41 % with global "
            "average pooling, after 260 epochs",
        ],
        "data": "cifar10",
        "variants": {
            "average": {},
            "dense": dense,
            "dense, dropout": {**dense, "model.fields.head_dropout_rate": 0.5},
        },
        "settings": {"config": "nin_cifar", "data.normalisation": "channels"},
        "sizes": {
            "minutes": {
                "seeds": 1,
                "settings": {"epochs": 0.2},
                "variants": ["average", "dense"],
            },
            "full": {"seeds": 3, "settings": {"epochs": 5.0}},
        },
        "measures": ["test_error", "gap_of_trained", "parameters"],
        "rule": [
            ratio("parameters", "dense", "average", above=1),
            difference("gap_of_trained", "dense", "average", above=0),
            difference("test_error", "dense", "average", above=0),
        ],
        "figure": "dots",
        "caveats": "Images without the paper's whitening; a fiftieth of its length.",
    }

"""Lin et al. 2013: NiN against AlexNet, on photographs."""

from configs.experiments.base import D2L, ratio, recipes


def get_experiment():
    """Returns the experiment; see ``configs/experiments/base.py``."""
    minutes = "minutes_to_validation_error:70"
    return {
        "claim": "NiN has far fewer parameters than AlexNet, but may train longer "
        "(here: to a validation error of 70 %).",
        "sources": [D2L],
        "data": "photographs",
        "variants": recipes("nin", "alexnet"),
        "settings": {"test.protocol": "none", "data.image_size": 96},
        "sizes": {
            "minutes": {"seeds": 1, "settings": {"epochs": 2.0}},
            "full": {"seeds": 3, "settings": {"epochs": 20.0}},
        },
        "measures": [minutes, "test_error", "parameters"],
        "rule": [
            ratio("parameters", "alexnet", "nin", above=5),
            ratio(minutes, "nin", "alexnet", above=1),
        ],
        "figure": "curves",
        "caveats": "Minutes of the clock: other programs may have run meanwhile.",
    }

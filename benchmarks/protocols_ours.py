"""The worker of protocols.py: an evaluation on ten crops, and ten on one crop."""

from typing import Any

import jax
import numpy as np
from ours import open_program
from worker import Pass, serve

from cnn_arch.data.bundled import ArraySource
from cnn_arch.evaluation import protocols
from cnn_arch.evaluation.one_crop import OneCrop
from cnn_arch.screen import Screen


def prepare(case: dict) -> tuple[dict, dict[str, Pass]]:
    """Makes images of 375 x 500 px; returns the facts and the passes."""
    program = open_program(case["words"])
    generator, number = np.random.default_rng(0), case["num_images"]
    images = generator.integers(0, 256, (number, 375, 500, 3), np.uint8)
    source = ArraySource(images, np.zeros(number, np.int32), [""] * number)
    variables: Any = program.initialise().variables
    one = OneCrop(program.config, program.model, program.mesh)
    protocol = protocols.of_name("ten_crop", program.config.data)
    screen = Screen(json=True)
    ten = protocols.make_evaluator(protocol, program, program.mesh, screen)

    def ten_times() -> None:
        for _ in range(10):
            one.judge(variables, source)

    passes = {
        "ten_crop": lambda: ten.judge(variables, source),
        "one_crop_ten_times": ten_times,
    }
    return {"versions": {"jax": jax.__version__}}, passes


if __name__ == "__main__":
    serve(prepare)

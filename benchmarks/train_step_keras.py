"""The worker of train_step.py for Keras on JAX; needs keras and jax.

It trains ``keras.applications.ResNet50`` as ``fit`` does, on a batch in memory.
"""
# pyright: reportMissingImports=false

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from worker import serve


def prepare(case: dict):
    """Makes and compiles the network; returns the facts and the passes."""
    assert case["network"] == "resnet50_v1"
    if case["precision"] == "bf16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.applications.ResNet50(
        weights=None,
        input_shape=(case["image_size"], case["image_size"], 3),
        classes=case["num_classes"],
        classifier_activation=None,
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    generator = np.random.default_rng(0)
    shape = (case["batch_size"], case["image_size"], case["image_size"], 3)
    image = jax.device_put(generator.standard_normal(shape, np.float32))
    label = generator.integers(0, case["num_classes"], shape[0], np.int32)
    label = jax.device_put(label)
    facts = {"versions": {"keras": keras.__version__, "keras' jax": jax.__version__}}
    return facts, {
        "train": lambda: model.train_on_batch(image, label),
        "forward": lambda: model.predict_on_batch(image),
    }


if __name__ == "__main__":
    serve(prepare)

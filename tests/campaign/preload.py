"""Imports what the commands import, in the server that forks them."""

import matplotlib.pyplot
import tensorboardX

import train
from cnn_arch.data import loading
from cnn_arch.datasets import dataset, opening
from cnn_arch.evaluation import (
    classify,
    export,
    features,
    final_test,
    protocols,
    record,
)
from cnn_arch.report import pages
from cnn_arch.training import loop, preview, profile, program

__all__ = [
    "classify",
    "dataset",
    "export",
    "features",
    "final_test",
    "loading",
    "loop",
    "matplotlib",
    "opening",
    "pages",
    "preview",
    "profile",
    "program",
    "protocols",
    "record",
    "tensorboardX",
    "train",
]

"""Fixtures for the files of other programs."""

import pytest

from cnn_arch.weights import caffe_networks
from tests.weights.caffe_nets import SMALL


@pytest.fixture
def caffe(monkeypatch):
    """Adds the small network to those of Caffe."""
    monkeypatch.setitem(caffe_networks.CAFFE, "small", SMALL)

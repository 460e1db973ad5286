"""The floor of loader.py: libjpeg-turbo decodes whole files, and nothing else is done.

Needs simplejpeg, which carries its own libjpeg-turbo. The exact transform and the
smooth upsampling of colour, as all other sides.
"""
# pyright: reportMissingImports=false

import glob
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import simplejpeg
from worker import serve


def decode(path: str) -> None:
    """Reads and decodes a file."""
    with open(path, "rb") as file:
        encoded = file.read()
    simplejpeg.decode_jpeg(encoded, "RGB", fastdct=False, fastupsample=False)


def prepare(case: dict):
    """Lists the files; returns the version, and what decodes as many as in a batch."""
    paths = sorted(glob.glob(os.path.join(case["data_dir"], "train", "*", "*")))
    stream = itertools.cycle(paths)
    threads = ThreadPoolExecutor(case["workers"])

    def take() -> None:
        batch = itertools.islice(stream, case["batch_size"])
        for _ in threads.map(decode, batch):
            pass

    return {"versions": {"simplejpeg": version("simplejpeg")}}, {"batch": take}


if __name__ == "__main__":
    serve(prepare)

"""The lower limit of loader.py: libjpeg-turbo decodes whole files, and that is all.

Needs simplejpeg, which includes libjpeg-turbo. It uses the exact transform and the
smooth upsampling of colour, like the other sides.
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
    """Lists the files; returns the version, and a pass that decodes one batch."""
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

"""Compares this project with PyTorch on a machine with a GPU, in a few minutes.

    python benchmarks/gpu.py --peer_python=PEER/bin/python

Of each network, at a batch that fills a GPU: the training step and the forward pass
beside PyTorch's, eager and compiled, in bfloat16 and in TF32, and the memory of each
side; then the share of a whole run that waits for images. It needs no network and no
data. What does not fit into --minutes is left out, and named.
"""

import tempfile
import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rounds
import train_step
from whole_run import SHARES, run_once

# With all sides in the memory of one GPU.
BATCHES = {
    "resnet50": 128,
    "alexnet": 512,
    "vgg16": 64,
    "googlenet_bn": 128,
    "resnet20": 1024,
}
PRECISIONS = {"bf16": "bfloat16", "float32": "TF32"}
PEERS = "pytorch", "pytorch_compile", "flax"
SIDE = 400  # px of a photograph


class Clock:
    """The time that is left, and what it did not allow."""

    def __init__(self, minutes: float):
        """Starts the clock."""
        self.end, self.longest = time.monotonic() + 60 * minutes, 0.0
        self.left_out: list[str] = []

    def allows(self, title: str) -> bool:
        """Returns whether a part that takes as long as the longest fits."""
        if time.monotonic() + self.longest > self.end:
            self.left_out.append(title)
            return False
        return True

    def note(self, began: float) -> None:
        """Notes how long a part took."""
        self.longest = max(self.longest, time.monotonic() - began)


def read_options() -> Namespace:
    """Returns the options, with those that train_step.py reads, too."""
    parser = rounds.make_parser(__doc__, "gpu", num_rounds=3)
    add, words_of = parser.add_argument, train_step.words_of
    add("--peer_python", help="has torch and torchvision")
    add("--minutes", type=float, default=8.0, help="for everything; default 8")
    names = list(BATCHES)
    add("--networks", type=partial(words_of, names), default=names)
    add("--peers", type=partial(words_of, PEERS), default=PEERS[:2])
    add("--small", action="store_true", help="everything, to try it without a GPU")
    options = parser.parse_args()
    if "flax" not in options.peers and not options.peer_python:
        parser.error("--peer_python: must be given, an environment with torch")
    own = {"passes": train_step.PASSES, "seconds": 1.0, "keras_python": None}
    return Namespace(**vars(options) | own)


def measure(case: dict[str, Any], title: str, options: Namespace) -> dict[str, Any]:
    """Measures a network on all sides; returns the rows and each side's facts."""
    rounds.console.print(title, style="bold")
    peers = train_step.sides(options, case["network"])
    measured, facts = train_step.measure(case, peers, options, at_once=True)
    rows = train_step.rows_of(case, measured, facts)
    return {"case": title, "rows": rows, "sides": facts}


def run_whole(folder: Path, *, small: bool) -> dict[str, float]:
    """Trains on photographs that it makes; returns ``run_once``'s numbers."""
    network, batch_size, images, epochs = "resnet50_v1_5", 128, 2560, 12
    if small:
        network, batch_size, images, epochs = "resnet20", 8, 64, 1
    generator = np.random.default_rng(0)
    for split, count in (("train", images), ("val", 64), ("test", 64)):
        for number in range(count):
            place = folder / "photographs" / split / f"class{number % 2}"
            place.mkdir(parents=True, exist_ok=True)
            # Smooth noise, which compresses as photographs do.
            image = generator.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
            image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(place / f"{number}.jpg"), image)
    words = [
        f"--config=configs/{network}.py:folder",
        f"--config.batch_size={batch_size}",
        f"--config.epochs={epochs}",
        "--config.precision=bfloat16",
        f"--config.data.dir={folder / 'photographs'}",
    ]
    return run_once(words, folder)


def main() -> None:
    """Measures until the time is over, writes the results and prints them."""
    options = read_options()
    clock, path = Clock(options.minutes), rounds.result_path("gpu", options.output)
    results = rounds.header("a GPU", options.rounds) | {"cases": []}
    for precision, name in PRECISIONS.items():
        for network in options.networks:
            size = 16 if options.small else BATCHES[network]
            square = 256 if options.small else train_step.MATMUL_SIZE
            title = f"{network}, batch {size}, {name}"
            if clock.allows(title):
                began = time.monotonic()
                case = train_step.case_of(network, size, precision, square, [])
                results["cases"].append(measure(case, title, options))
                clock.note(began)
                rounds.write(path, results)
    if clock.allows("a whole run"):
        with tempfile.TemporaryDirectory() as folder:
            results["run"] = run_whole(Path(folder), small=options.small)
    rounds.write(path, results | {"left_out": clock.left_out})
    show(results, path)
    for title in clock.left_out:
        print(f"left out {title}: no time")


def show(results: dict[str, Any], path: Path) -> None:
    """Prints the table of speeds, the memory, and the shares of the run."""
    columns = ["network", "peer", "ours, img/s", "peer, img/s", "ratio"]
    columns += ["ours/matmul", "peer/matmul"]
    rows = [row for case in results["cases"] for row in case["rows"]]
    rounds.print_table(columns, map(train_step.cells, rows), path)
    for case in results["cases"]:
        for name, facts in case["sides"].items():
            if size := facts.get("peak_bytes"):
                print(f"memory   {case['case']}, {name}: {size / 2**30:.1f} GiB")
    if "run" in results:
        run = results["run"]
        shares = [f"{name} {100 * run[name]:.1f} %" for name in SHARES]
        print(
            f"a run    {run['steps a second']:.2f} steps a second; {', '.join(shares)}"
        )


if __name__ == "__main__":
    main()

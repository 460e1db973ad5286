"""Measures how fast training batches are made, beside a PyTorch DataLoader.

    python benchmarks/loader.py --data_dir=DIR --peer_python=PEER/bin/python

Both read the JPEG files of DIR/train/CLASS/*, decode them at full size, cut a random
box to 224 px, flip half of them, and hand over batches of 128 uint8 images; both have
the same number of threads or worker processes. Rounds of one and the other take turns.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from cnn_arch.data.loading import TrainBatches  # noqa: E402
from cnn_arch.data.sources import load_dataset  # noqa: E402
from configs import base  # noqa: E402

WARMUP_BATCHES = 8  # also empties the queue that filled while nobody took from it


def measure(data_dir: str, workers: int, batch_size: int, num_batches: int) -> dict:
    """Times this project's loader in this process."""
    data = base.get_config().data
    data.update({"dir": data_dir, "num_threads": workers, "image_size": 224})
    source = load_dataset(data).splits["train"]
    batches = TrainBatches(source, data, seed=0, batch_size=batch_size)
    # A few more than are timed, so that the loader is as busy at the end as before.
    stream = batches.iterate(0, WARMUP_BATCHES + num_batches + 2 * workers)
    for _ in range(WARMUP_BATCHES):
        next(stream)
    start, cpu_start = time.perf_counter(), time.process_time()
    for _ in range(num_batches):
        assert next(stream)["image"].shape == (batch_size, 224, 224, 3)
    seconds = time.perf_counter() - start
    cpu_seconds = time.process_time() - cpu_start
    stream.close()
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def measure_peer(peer_python: str, *arguments: object) -> dict:
    """Times the PyTorch loader in a process of its own."""
    command = [peer_python, str(HERE / "loader_pytorch.py"), *map(str, arguments)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def summarize(rounds: list[dict], num_images: int) -> dict:
    """Gives median, least and greatest rate over the rounds."""
    summary = {}
    for rate, unit in (
        ("images_per_second", "seconds"),
        ("images_per_cpu_second", "cpu_seconds"),
    ):
        values = [num_images / measured[unit] for measured in rounds]
        summary[rate] = {
            "median": round(statistics.median(values), 1),
            "min": round(min(values), 1),
            "max": round(max(values), 1),
        }
    return summary


def main() -> None:
    """Runs the rounds, prints the table and writes the results."""
    parser = argparse.ArgumentParser(description="Times the loader beside PyTorch's.")
    parser.add_argument("--data_dir", required=True, help="holds train/CLASS/*.jpg")
    parser.add_argument("--peer_python", required=True, help="has torchvision")
    parser.add_argument("--workers", type=int, default=2, help="threads, or processes")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--num_batches", type=int, default=30, help="timed in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", default=str(HERE / "results/loader.json"))
    args = parser.parse_args()

    settings = (args.data_dir, args.workers, args.batch_size, args.num_batches)
    rounds = {"cnn_arch": [], "pytorch": []}
    versions = {}
    load_before = os.getloadavg()[0]
    for i in range(args.rounds):
        rounds["cnn_arch"].append(measure(*settings))
        peer = measure_peer(args.peer_python, *settings, WARMUP_BATCHES)
        versions = peer.pop("versions")
        rounds["pytorch"].append(peer)
        print(f"round {i + 1} of {args.rounds}", file=sys.stderr)

    num_images = args.batch_size * args.num_batches
    results = {
        "what": "random-resized-crop 224 and flip, uint8 batches",
        "data": os.path.basename(os.path.abspath(args.data_dir)),
        "batch_size": args.batch_size,
        "workers": args.workers,
        "rounds": args.rounds,
        "images_per_round": num_images,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load_average_before": round(load_before, 2),
        },
        "versions": {"python": platform.python_version(), **versions},
        "loaders": {
            name: summarize(measured, num_images) for name, measured in rounds.items()
        },
    }
    ratios = [
        peer["seconds"] / ours["seconds"]
        for ours, peer in zip(rounds["cnn_arch"], rounds["pytorch"], strict=True)
    ]
    results["ratio"] = {
        "median": round(statistics.median(ratios), 2),
        "min": round(min(ratios), 2),
        "max": round(max(ratios), 2),
    }

    print("loader       images/s (min-max)       images/CPU-second (min-max)")
    for name, summary in results["loaders"].items():
        columns = [
            f"{rate['median']:7,.0f} ({rate['min']:,.0f}-{rate['max']:,.0f})"
            for rate in summary.values()
        ]
        print(f"{name:10}   {columns[0]:22}   {columns[1]}")
    ratio = results["ratio"]
    print(f"ratio        {ratio['median']} ({ratio['min']}-{ratio['max']})")
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    Path(args.output).write_text(json.dumps(results, indent=2) + "\n")
    print(f"wrote        {args.output}")


if __name__ == "__main__":
    main()

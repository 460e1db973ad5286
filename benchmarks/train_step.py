"""Compares the training step and the forward pass with other programs.

    python benchmarks/train_step.py --peer_python=PEER/bin/python

Each side is a process with random images in memory; the sides take turns. Without a
peer's Python, the peer is left out. README.md describes what the sides have in common.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import product
from typing import Any

import rounds

# Side of the image in px, classes, batch sizes.
NETWORKS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "resnet20": (32, 10, (128,)),
    "resnet56": (32, 10, (128,)),
    "alexnet": (227, 1000, (16, 32)),
    "alexnet_owt": (224, 1000, (16, 32)),
    "vgg16": (224, 1000, (16, 32)),
    "googlenet_bn": (224, 1000, (16, 32)),
    "resnet18": (224, 1000, (16, 32)),
    "resnet50": (224, 1000, (16, 32)),
    "resnet50_v1": (224, 1000, (16, 32)),
}
# Our recipe, if its name differs. torchvision's resnet50 halves maps in the 3x3
# convolution, which is v1.5. Keras' resnet50 is the paper's, v1.
RECIPES = {"resnet50": "resnet50_v1_5", "resnet50_v1": "resnet50"}
PEERS = ("pytorch", "pytorch_compile", "openvino", "flax", "keras")
PRECISIONS = ("float32", "bf16")
PASSES = ("train", "forward")
# JAX takes three quarters of a GPU's memory at its start; the other sides need it, too.
NOT_ALL_MEMORY = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
MATMUL_SIZE = 4096  # of square matrices; their product shows the machine's top speed
# The gradients of weights and of inputs cost as much as the forward pass, each.
FLOPS_PER_MAC = {"train": 2 * 3, "forward": 2}


def words_of(choices: Sequence[str], text: str) -> list[str]:
    """Reads an option that takes some of the choices: ``a,b``."""
    words = text.split(",")
    for word in words:
        if word not in choices:
            raise argparse.ArgumentTypeError(
                f"{word}: must be one of {', '.join(choices)}"
            )
    return words


def read_options() -> tuple[argparse.Namespace, list[str]]:
    """Returns the options, and the settings of our recipes."""
    parser = rounds.make_parser(__doc__, "train_step")
    add = parser.add_argument
    add("--peer_python", help="has torch, torchvision, and perhaps openvino")
    add("--keras_python", help="has keras and jax")
    add("--batch_sizes", help="of all networks, as 16,32; default: see README.md")
    add("--all_batch_sizes", action="store_true", help="16 and 32, not only 16")
    names = list(NETWORKS)
    add("--networks", type=partial(words_of, names), default=names)
    add("--precisions", type=partial(words_of, PRECISIONS), default=PRECISIONS)
    add("--passes", type=partial(words_of, PASSES), default=PASSES)
    add("--peers", type=partial(words_of, PEERS), default=("pytorch", "flax", "keras"))
    add("--seconds", type=float, default=1.0, help="at least, of a side in a round")
    add("--matmul_size", type=int, default=MATMUL_SIZE)
    return rounds.parse_with_settings(parser)


def sides(options: argparse.Namespace, network: str) -> dict[str, tuple[str, str]]:
    """Returns the Python and the worker of each peer that has the network."""
    torch, keras = options.peer_python, options.keras_python
    known = {
        "pytorch": (torch, "train_step_pytorch"),
        "pytorch_compile": (torch, "train_step_pytorch"),
        "openvino": (torch, "train_step_openvino"),
        "flax": (sys.executable, "train_step_flax"),
        "keras": (keras, "train_step_keras"),
    }
    return {
        name: known[name]
        for name in options.peers
        if known[name][0] and (name == "keras") == (network == "resnet50_v1")
    }


def case_of(
    network: str, batch_size: int, precision: str, matmul_size: int, words: list[str]
) -> dict[str, Any]:
    """Returns what the workers are told; ``words`` are settings of our recipe."""
    size, num_classes, _ = NETWORKS[network]
    return {
        "network": network,
        "recipe": RECIPES.get(network, network),
        "image_size": size,
        "num_classes": num_classes,
        "batch_size": batch_size,
        "precision": precision,
        "matmul_size": matmul_size,
        "words": words,
    }


def open_sides(
    case: dict[str, Any],
    peers: dict[str, tuple[str, str]],
    stack: ExitStack,
    *,
    at_once: bool,
) -> tuple[dict[str, rounds.Worker], dict[str, Any]]:
    """Starts and prepares a worker for each side; returns them, and their facts."""
    workers = {"cnn_arch": rounds.our_worker("train_step_ours", **NOT_ALL_MEMORY)}
    workers |= {name: rounds.peer_worker(*peer) for name, peer in peers.items()}

    def open_side(name: str) -> dict[str, Any]:
        rounds.console.print(f"  {name}: compiles and warms up", style="dim")
        compiled = {"compiled": name == "pytorch_compile"}
        return rounds.open_side(stack, name, workers[name], case | compiled)

    with ThreadPoolExecutor(len(workers) if at_once else 1) as pool:
        return workers, dict(zip(workers, pool.map(open_side, workers), strict=True))


def measure(
    case: dict[str, Any],
    peers: dict[str, tuple[str, str]],
    options: Any,
    *,
    at_once: bool = False,
):
    """Times a case on all sides; returns seconds a call by (side, pass), and facts.

    With ``at_once``, all sides compile at the same time: for machines with many cores.
    """
    passes = (*options.passes, "matmul")
    with ExitStack() as stack:
        workers, facts = open_sides(case, peers, stack, at_once=at_once)
        return time_passes(workers, facts, passes, options), facts


def time_passes(
    workers: dict[str, rounds.Worker],
    facts: dict[str, Any],
    passes: Sequence[str],
    options: Any,
) -> dict[tuple[str, str], list[float]]:
    """Returns the seconds of a call by side and pass, one for each round."""

    def turn(worker: rounds.Worker, work: str, num_calls: int) -> float:
        answer = worker.ask({"pass": work, "num_calls": num_calls})
        return answer["seconds"] / num_calls

    turns = {}
    for name, worker in workers.items():
        for work, seconds in facts[name].get("call_seconds", {}).items():
            if work in passes:
                num_calls = rounds.num_calls(seconds, options.seconds)
                turns[name, work] = partial(turn, worker, work, num_calls)
    # All sides do one pass, then all the next.
    turns = dict(sorted(turns.items(), key=lambda item: item[0][1]))
    return rounds.take_turns(turns, options.rounds, "  measures")


def rows_of(case: dict[str, Any], measured: dict, facts: dict) -> list[dict[str, Any]]:
    """Returns a row for each pass and peer."""
    rates = {
        (name, work): [case["batch_size"] / value for value in seconds]
        for (name, work), seconds in measured.items()
        if work != "matmul"
    }
    # The faster library's product is the top speed.
    ceiling = max(
        2 * case["matmul_size"] ** 3 / statistics.median(seconds)
        for (_, work), seconds in measured.items()
        if work == "matmul"
    )
    kept = ("network", "recipe", "image_size", "batch_size", "precision")
    rows = []
    for (name, work), peer in rates.items():
        if name == "cnn_arch":
            continue
        ours = rates["cnn_arch", work]
        ratio, spread = rounds.compare(ours, peer)
        flops = facts["cnn_arch"]["macs"] * FLOPS_PER_MAC[work]
        ours, peer = rounds.summarize(ours, 2), rounds.summarize(peer, 2)
        rows.append(
            {
                **{key: case[key] for key in kept},
                "pass": work,
                "ours_images_per_second": ours["median"],
                "peer": name,
                "peer_images_per_second": peer["median"],
                "ratio": ratio,
                "ours_spread": [ours["min"], ours["max"]],
                "peer_spread": [peer["min"], peer["max"]],
                "ratio_spread": spread,
                "gigaflops_per_image": round(flops / 1e9, 3),
                "matmul_gigaflops_per_second": round(ceiling / 1e9, 1),
                "ours_share_of_matmul": round(ours["median"] * flops / ceiling, 3),
                "peer_share_of_matmul": round(peer["median"] * flops / ceiling, 3),
            }
        )
    return rows


def cells(row: dict[str, Any]) -> list[str]:
    """Returns a row of the table."""
    sides = []
    for side in ("ours", "peer"):
        low, high = row[f"{side}_spread"]
        sides.append(
            {"median": row[f"{side}_images_per_second"], "min": low, "max": high}
        )
    return [
        f"{row['network']} {row['batch_size']} {row['precision']} {row['pass']}",
        row["peer"],
        *map(rounds.shown, sides),
        rounds.shown_ratio(row["ratio"], row["ratio_spread"]),
        f"{100 * row['ours_share_of_matmul']:.0f} %",
        f"{100 * row['peer_share_of_matmul']:.0f} %",
    ]


def main() -> None:
    """Measures every case, writes the results after each, and prints the table."""
    options, words = read_options()
    path = rounds.result_path("train_step", options.output)
    results = rounds.header("training step and forward pass", options.rounds)
    results |= {"settings": words, "sides": [], "rows": []}
    for network in options.networks:
        batches = NETWORKS[network][2]
        peers = sides(options, network)
        if not peers:
            rounds.console.print(f"{network}: left out: no given peer has it")
            continue
        if options.batch_sizes:
            batches = tuple(map(int, options.batch_sizes.split(",")))
        elif not options.all_batch_sizes:
            batches = batches[:1]
        cases: list[tuple[int, str]] = list(product(batches, options.precisions))
        for batch_size, precision in cases:
            case = case_of(network, batch_size, precision, options.matmul_size, words)
            title = f"{network}, batch {batch_size}, {precision}"
            rounds.console.print(title, style="bold")
            measured, facts = measure(case, peers, options)
            results["rows"] += rows_of(case, measured, facts)
            results["sides"].append({"case": title, **facts})
            rounds.write(path, results)

    columns = ["network", "peer", "ours, img/s", "peer, img/s", "ratio"]
    columns += ["ours/matmul", "peer/matmul"]
    rounds.print_table(columns, map(cells, results["rows"]), path)


if __name__ == "__main__":
    main()

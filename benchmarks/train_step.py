"""Times the training step and the forward pass beside other programs.

    python benchmarks/train_step.py --peer_python=PEER/bin/python

Each side is a process of its own, and computes with random images that are in memory;
one step of one side follows one of another. A peer whose Python is not given is left
out. README.md says what the sides have in common.
"""

import argparse
import contextlib
import statistics
import sys
from typing import Any

import rounds

# Side of the image in px, classes, batch, and our recipe where its name is another.
# torchvision's resnet50 halves maps in the 3x3: the v1.5. Keras' is the paper's.
NETWORKS: dict[str, tuple[int, int, tuple[int, ...], str]] = {
    "resnet20": (32, 10, (128,), "resnet20"),
    "resnet56": (32, 10, (128,), "resnet56"),
    "alexnet": (227, 1000, (16, 32), "alexnet"),
    "alexnet_owt": (224, 1000, (16, 32), "alexnet_owt"),
    "vgg16": (224, 1000, (16, 32), "vgg16"),
    "googlenet_bn": (224, 1000, (16, 32), "googlenet_bn"),
    "resnet18": (224, 1000, (16, 32), "resnet18"),
    "resnet50": (224, 1000, (16, 32), "resnet50_v1_5"),
    "resnet50_v1": (224, 1000, (16, 32), "resnet50"),
}
PEERS = ("pytorch", "pytorch_compile", "flax", "keras")
PRECISIONS = ("float32", "bf16")
PASSES = ("train", "forward")
MATMUL_SIZE = 4096  # of the square matrices whose product is the machine's ceiling
# One gradient for the weights and one for the input cost as much as the forward pass.
FLOPS_PER_MAC = {"train": 2 * 3, "forward": 2}


def words_of(choices: tuple[str, ...]):
    """Returns the type of an option that takes some of the choices: ``a,b``."""

    def read(text: str) -> list[str]:
        words = text.split(",")
        for word in words:
            if word not in choices:
                raise argparse.ArgumentTypeError(
                    f"{word}: must be one of {', '.join(choices)}"
                )
        return words

    return read


def read_options() -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line; the rest are settings of our recipes."""
    doc = __doc__ or ""
    parser = argparse.ArgumentParser(description=doc, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--peer_python", help="has torch and torchvision")
    add("--keras_python", help="has keras and jax")
    add("--networks", type=words_of(tuple(NETWORKS)), default=list(NETWORKS))
    add("--batch_sizes", help="of all networks, as 16,32; default: see README.md")
    add("--all_batch_sizes", action="store_true", help="16 and 32, not 16 alone")
    add("--precisions", type=words_of(PRECISIONS), default=list(PRECISIONS))
    add("--passes", type=words_of(PASSES), default=list(PASSES))
    add("--peers", type=words_of(PEERS), default=["pytorch", "flax", "keras"])
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="at least, of a side in a round")
    add("--matmul_size", type=int, default=MATMUL_SIZE)
    add("--output", help="default: benchmarks/results/train_step-DATE.json")
    options, words = parser.parse_known_args()
    for word in words:
        if not word.startswith("--config."):
            parser.error(f"{word}: no such option; see --help")
    return options, words


def sides(options: argparse.Namespace, network: str) -> dict[str, tuple[str, str]]:
    """Returns the Python and the worker of each peer that has the network."""
    torch, keras = options.peer_python, options.keras_python
    known = {
        "pytorch": (torch, "train_step_pytorch"),
        "pytorch_compile": (torch, "train_step_pytorch"),
        "flax": (sys.executable, "train_step_flax"),
        "keras": (keras, "train_step_keras"),
    }
    return {
        name: known[name]
        for name in options.peers
        if known[name][0] and (name == "keras") == (network == "resnet50_v1")
    }


def measure(case: dict[str, Any], peers: dict[str, tuple[str, str]], options: Any):
    """Times a case on all sides; returns seconds a call by (side, pass), and facts."""
    facts, calls = {}, {}
    with contextlib.ExitStack() as stack:
        for name in ("cnn_arch", *peers):
            rounds.console.print(f"  {name}: compiles and warms up", style="dim")
            if name == "cnn_arch":
                worker = rounds.our_worker("train_step_ours")
            else:
                worker = rounds.peer_worker(name, *peers[name])
            stack.callback(worker.close)
            try:
                facts[name] = worker.ask({**case, "compiled": "compile" in name})
            except rounds.WorkerError as error:
                if name == "cnn_arch":  # nothing is left to compare with
                    raise SystemExit(f"error: {error}") from None
                rounds.console.print(f"  {name}: left out: {error}", style="yellow")
                facts[name] = {"error": str(error)}
                continue
            for work, seconds in facts[name]["call_seconds"].items():
                if work not in PASSES or work in options.passes:
                    number = rounds.num_calls(seconds, options.seconds)
                    calls[name, work] = worker, {"pass": work, "num_calls": number}

        def turn(worker: rounds.Worker, request: dict[str, Any]) -> float:
            return worker.ask(request)["seconds"] / request["num_calls"]

        turns = {
            key: lambda worker=worker, request=request: turn(worker, request)
            for (key, (worker, request)) in sorted(
                calls.items(), key=lambda item: item[0][1]
            )
        }
        measured = rounds.take_turns(turns, options.rounds, "  measures")
    return measured, facts


def rows_of(case: dict[str, Any], measured: dict, facts: dict) -> list[dict[str, Any]]:
    """Returns a row for each pass and peer."""
    rates = {
        (name, work): [case["batch_size"] / value for value in seconds]
        for (name, work), seconds in measured.items()
        if work != "matmul"
    }
    # The faster library shows what the machine can do.
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
    """Writes a row of the table."""
    sides = [
        {
            "median": row[f"{side}_images_per_second"],
            "min": row[f"{side}_spread"][0],
            "max": row[f"{side}_spread"][1],
        }
        for side in ("ours", "peer")
    ]
    low, high = row["ratio_spread"]
    return [
        f"{row['network']} {row['batch_size']} {row['precision']} {row['pass']}",
        row["peer"],
        *map(rounds.shown, sides),
        f"{row['ratio']:.2f} ({low:.2f}-{high:.2f})",
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
        size, num_classes, batches, recipe = NETWORKS[network]
        peers = sides(options, network)
        if not peers:
            rounds.console.print(f"{network}: left out: no peer that has it is given")
            continue
        if options.batch_sizes:
            batches = tuple(map(int, options.batch_sizes.split(",")))
        elif not options.all_batch_sizes:
            batches = batches[:1]
        for batch_size in batches:
            for precision in options.precisions:
                case = {
                    "network": network,
                    "recipe": recipe,
                    "image_size": size,
                    "num_classes": num_classes,
                    "batch_size": batch_size,
                    "precision": precision,
                    "matmul_size": options.matmul_size,
                    "words": words,
                }
                title = f"{network}, batch {batch_size}, {precision}"
                rounds.console.print(title, style="bold")
                measured, facts = measure(case, peers, options)
                results["rows"] += rows_of(case, measured, facts)
                results["sides"].append({"case": title, **facts})
                rounds.write(path, results)

    columns = ["network", "peer", "ours, img/s", "peer, img/s", "ratio"]
    columns += ["ours/matmul", "peer/matmul"]
    rounds.print_table(columns, map(cells, results["rows"]))
    print(f"wrote    {path}")


if __name__ == "__main__":
    main()

"""Times tracing, lowering and compiling the training step against the depth.

    python benchmarks/compile.py
    python benchmarks/compile.py --networks=resnet1202 --config.batch_size=64

Each time in a process of its own, and without the cache of compiled programs. The words
--config.KEY=VALUE are settings of the recipes.
"""

import argparse
from typing import Any

import rounds

NETWORKS = "resnet20,resnet56,resnet110,resnet1202"
STAGES = ("trace", "lower", "compile")


def compile_once(network: str, words: list[str], limit_seconds: float) -> dict | str:
    """Returns what a process tells that compiled the step, or why it does not."""
    worker = rounds.our_worker("compile_ours", JAX_ENABLE_COMPILATION_CACHE="false")
    try:
        settings = [f"--config=configs/{network}.py", *words]
        return worker.ask({"words": settings}, limit_seconds)
    except rounds.WorkerError as error:
        rounds.console.print(f"{network}: left out: {error}", style="yellow")
        return str(error)
    finally:
        worker.close()


def summarize(network: str, measured: list[dict | str]) -> dict[str, Any]:
    """Returns a network's row: medians and spreads over the rounds."""
    row: dict[str, Any] = {"network": network}
    answers = [answer for answer in measured if isinstance(answer, dict)]
    if len(answers) < len(measured):
        row["error"] = next(answer for answer in measured if isinstance(answer, str))
    if not answers:
        return row
    for stage in STAGES:
        key = f"{stage}_seconds"
        row[key] = rounds.summarize([answer[key] for answer in answers], 2)
    totals = [sum(answer[f"{stage}_seconds"] for stage in STAGES) for answer in answers]
    row["seconds"] = rounds.summarize(totals, 2)
    row["peak_mib"] = rounds.summarize([a["peak_bytes"] / 2**20 for a in answers], 0)
    grown = [(a["peak_bytes"] - a["before_bytes"]) / 2**20 for a in answers]
    row["compile_mib"] = rounds.summarize(grown, 0)
    for key in ("state_bytes", "step_bytes"):  # of the program, when it runs
        row[key] = answers[0].get(key)
    return row


def cells(row: dict[str, Any]) -> list[str]:
    """Writes a row of the table."""
    if "seconds" not in row:
        return [row["network"], row["error"]]
    keys = [f"{stage}_seconds" for stage in STAGES]
    keys += ["seconds", "compile_mib", "peak_mib"]
    step = f"{(row['step_bytes'] or 0) / 2**20:,.0f}"
    return [row["network"], *(rounds.shown(row[key]) for key in keys), step]


def main() -> None:
    """Runs the rounds, prints the table and writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--networks", default=NETWORKS, help="recipes, as a,b")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--limit_seconds",
        type=float,
        default=900.0,
        help="a compilation that takes longer is given up, and not tried again",
    )
    parser.add_argument(
        "--output", help="default: benchmarks/results/compile-DATE.json"
    )
    options, words = parser.parse_known_args()
    for word in words:
        if not word.startswith("--config."):
            parser.error(f"{word}: no such option; see --help")

    path = rounds.result_path("compile", options.output)
    results = rounds.header("compilation of the training step", options.rounds)
    networks, given_up = options.networks.split(","), {}

    def turn(network: str) -> dict | str:
        if network not in given_up:
            answer = compile_once(network, words, options.limit_seconds)
            if isinstance(answer, dict):
                return answer
            given_up[network] = answer
        return given_up[network]

    turns = {network: lambda network=network: turn(network) for network in networks}
    measured = rounds.take_turns(turns, options.rounds, "compile")
    rows = [summarize(network, answers) for network, answers in measured.items()]
    known = (a["versions"] for m in measured.values() for a in m if isinstance(a, dict))
    results |= {"settings": words, "versions": next(known, {}), "rows": rows}
    rounds.write(path, results)

    columns = ["network", "trace, s", "lower, s", "compile, s", "all, s"]
    columns += ["compile memory, MiB", "peak, MiB", "step's memory, MiB"]
    rounds.print_table(columns, map(cells, rows))
    print(f"wrote    {path}")


if __name__ == "__main__":
    main()

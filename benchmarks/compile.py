"""Times tracing, lowering and compiling the training step of networks by depth.

    python benchmarks/compile.py
    python benchmarks/compile.py --networks=resnet1202 --config.batch_size=64

Each compilation runs in a new process, without the cache of compiled programs.
--config.KEY=VALUE changes a setting of the recipes.
"""

from functools import partial
from typing import Any

import rounds

NETWORKS = "resnet20,resnet56,resnet110,resnet1202"
STAGES = ("trace_seconds", "lower_seconds", "compile_seconds")


def compile_once(network: str, words: list[str], limit_seconds: float) -> dict | str:
    """Returns the numbers of a new process that compiles the step, or its error."""
    worker = rounds.our_worker("compile_ours", JAX_ENABLE_COMPILATION_CACHE="false")
    try:
        words = [f"--config=configs/{network}.py", *words]
        return worker.ask({"words": words}, limit_seconds)
    except rounds.WorkerError as error:
        rounds.console.print(f"{network}: left out: {error}", style="yellow")
        return str(error)
    finally:
        worker.close()


def summarize(network: str, measured: list[dict | str]) -> dict[str, Any]:
    """Returns a network's row: medians and spreads over the rounds."""
    row: dict[str, Any] = {"network": network}
    answers = [answer for answer in measured if isinstance(answer, dict)]
    if errors := [answer for answer in measured if isinstance(answer, str)]:
        row["error"] = errors[0]
    if not answers:
        return row
    for key in STAGES:
        row[key] = rounds.summarize([answer[key] for answer in answers], 2)
    totals = [sum(answer[key] for key in STAGES) for answer in answers]
    row["seconds"] = rounds.summarize(totals, 2)
    row["peak_mib"] = rounds.summarize([a["peak_bytes"] / 2**20 for a in answers], 0)
    grown = [(a["peak_bytes"] - a["before_bytes"]) / 2**20 for a in answers]
    row["compile_mib"] = rounds.summarize(grown, 0)
    for key in ("state_bytes", "step_bytes"):  # of the program, when it runs
        row[key] = answers[0].get(key)
    return row


def cells(row: dict[str, Any]) -> list[str]:
    """Returns a row of the table."""
    if "seconds" not in row:
        return [row["network"], row["error"]]
    keys = *STAGES, "seconds", "compile_mib", "peak_mib"
    step = f"{(row['step_bytes'] or 0) / 2**20:,.0f}"
    return [row["network"], *(rounds.shown(row[key]) for key in keys), step]


def main() -> None:
    """Runs the rounds, prints the table and writes the results."""
    parser = rounds.make_parser(__doc__, "compile")
    parser.add_argument("--networks", default=NETWORKS, help="recipes, as a,b")
    parser.add_argument(
        "--limit_seconds",
        type=float,
        default=900.0,
        help="stop a compilation that takes longer, and do not repeat it",
    )
    options, words = rounds.parse_with_settings(parser)

    path = rounds.result_path("compile", options.output)
    results = rounds.header("compilation of the training step", options.rounds)
    errors: dict[str, str] = {}

    def turn(network: str) -> dict | str:
        if network in errors:
            return errors[network]
        answer = compile_once(network, words, options.limit_seconds)
        if isinstance(answer, str):
            errors[network] = answer
        return answer

    turns = {network: partial(turn, network) for network in options.networks.split(",")}
    measured = rounds.take_turns(turns, options.rounds, "compile")
    rows = [summarize(network, answers) for network, answers in measured.items()]
    known = (a["versions"] for m in measured.values() for a in m if isinstance(a, dict))
    results |= {"settings": words, "versions": next(known, {}), "rows": rows}
    rounds.write(path, results)

    columns = ["network", "trace, s", "lower, s", "compile, s", "all, s"]
    columns += ["compile memory, MiB", "peak, MiB", "step's memory, MiB"]
    rounds.print_table(columns, map(cells, rows), path)


if __name__ == "__main__":
    main()

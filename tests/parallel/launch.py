"""A small run of LeNet-5 with any number of processes."""

import socket
import subprocess
import time
from pathlib import Path

from tests.commands import LIMIT_SECONDS, ROOT, command, environment

RECIPE = (  # its test error is about 15 % after two epochs
    "--config=configs/lenet5.py",
    "--config.batch_size=20",
    "--config.epochs=2",
    "--config.data.train_crop=none",
    "--config.optim.learning_rate=0.1",
)
STEPS_PER_EPOCH = 175


def start(program: str, *words: object, num_processes=1, num_devices=1, more=0):
    """Starts the processes of a command; their output goes to pipes.

    The first has ``num_devices``, each other ``more`` than the one before.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = []
    for index in range(num_processes):
        given = command(program, *words)
        if num_processes > 1:
            given += [f"--coordinator=localhost:{port}", f"--process_id={index}"]
            given += [f"--num_processes={num_processes}"]
        process = subprocess.Popen(
            given,
            cwd=ROOT,
            env=environment(num_devices + index * more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
    return processes


def finish(processes) -> list[tuple[int, str, str]]:
    """Waits for all processes; returns the status, stdout and stderr of each."""
    try:
        ended = [process.communicate(timeout=LIMIT_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        (process.returncode, *texts)
        for process, texts in zip(processes, ended, strict=True)
    ]


def run(program: str, *words: object, **how) -> list[tuple[int, str, str]]:
    """Runs a command; asserts that all of its processes end with status 0."""
    results = finish(start(program, *words, **how))
    assert all(status == 0 for status, _, _ in results), results
    return results


def wait_for_steps(workdir: Path, num_steps: int) -> None:
    """Waits until steps.csv has so many rows; a run writes many rows at a time."""
    deadline = time.monotonic() + LIMIT_SECONDS
    path = workdir / "steps.csv"
    while not path.exists() or path.read_bytes().count(b"\n") <= num_steps:
        assert time.monotonic() < deadline, f"no {num_steps} steps in time"
        time.sleep(0.02)

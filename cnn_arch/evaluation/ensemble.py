"""Several trained networks as one: each predicts a split, then the mean of all."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from cnn_arch import run_directory
from cnn_arch.checkpoints.checkpoint import open_checkpoints
from cnn_arch.datasets.dataset import Dataset
from cnn_arch.datasets.opening import Use, check_classes, open_split
from cnn_arch.errors import UsageError
from cnn_arch.evaluation import protocols, record, request
from cnn_arch.evaluation.evaluator import Evaluator
from cnn_arch.evaluation.network import Network, from_checkpoint
from cnn_arch.evaluation.prediction import Known, Prediction, mean, read
from cnn_arch.evaluation.results import check_finite
from cnn_arch.parallel import processes
from cnn_arch.parallel.launcher import Process
from cnn_arch.parallel.runtime import open_devices
from cnn_arch.run_directory import Run, read_classes
from cnn_arch.screen import Screen


@dataclasses.dataclass(frozen=True)
class Member:
    """A network, and how and on what it is evaluated."""

    evaluator: Evaluator
    network: Network
    dataset: Dataset
    split: str
    run: Run

    @property
    def name(self) -> str:
        """Names the network in tables and messages."""
        origin = self.network.origin
        if "weights" in origin:
            return origin["weights"]
        averaged = ", the average" * ("parameters" in origin)
        return f"{self.run.workdir}, step {origin['checkpoint_step']}{averaged}"

    def predict(self) -> Prediction:
        """Returns its probabilities for the split, with its errors among the facts.

        Raises:
          UsageError: the data and the network have different classes.
          RunError: a probability is not finite, or no image could be read.
        """
        network, evaluator, screen = self.network, self.evaluator, self.run.screen
        source = self.dataset.splits[self.split]
        check_classes(self.dataset, network.class_names, self.run.workdir)
        evaluator.prepare(network.variables, source, screen)
        key = self.split + evaluator.suffix
        with screen.progress(key, evaluator.num_batches(source)) as progress:
            arrays, skipped = evaluator.predict(
                network.variables, source, progress.advance
            )
        index = arrays["index"]
        prediction = Prediction(
            images=tuple(map(source.name, index.tolist())),
            index=index,
            label=arrays["label"],
            log_probability=arrays["log_probability"],
            class_names=network.class_names,
            facts={},
            skipped=skipped,
        )
        results = prediction.results()
        check_finite(results.loss, results.index, source)
        facts = {"network": self.name, **record.summarise(results, evaluator, network)}
        return dataclasses.replace(prediction, facts=facts)

    def evaluate(self) -> dict[str, Any]:
        """Evaluates it as ``record.evaluate`` does."""
        return record.evaluate(
            self.evaluator, self.network, self.dataset, self.split, self.run
        )

    def save_probabilities(self) -> dict[str, Any]:
        """Evaluates it as ``record.evaluate`` does, and writes its probabilities."""
        prediction, run, suffix = self.predict(), self.run, self.evaluator.suffix
        tops = self.evaluator.more_tops
        known = Known(prediction, self.evaluator.description, suffix, tops)
        answer = record.evaluate_split(
            known, self.network, self.dataset, self.split, run
        )
        name = f"probabilities_{self.split}{suffix}.npz"
        _write(prediction, run, name)
        run.screen.say("wrote", f"{run.workdir}/eval/results.json  {name}")
        return answer


def open_members(
    words: Sequence[str], given: Mapping[str, Any], screen: Screen, process: Process
) -> Iterator[Member]:
    """Opens the networks that eval.py is asked for, one after another.

    Args:
      words: ``--config``, if it registers the networks of the runs.
      given: the options of eval.py, with the paths of one run or more.
      screen: of the command.
      process: which of several processes this is.

    Raises:
      UsageError: a run is not there, or has other classes than the first.
    """
    found = [
        run_directory.find_trained(words, dict(given) | {"workdir": path}, screen, None)
        for path in request.workdirs(given)
    ]
    names = [read_classes(run.workdir) for _, run in found]
    for (_, run), others in zip(found, names, strict=True):
        if others != names[0]:
            raise UsageError(
                f"--workdir={run.workdir}: has other classes than "
                f"{found[0][1].workdir}; leave one of them out"
            )
    mesh = open_devices(found[0][0], screen, process)
    split = given.get("split", "test")
    for config, run in found:
        screen.say("run", str(run.workdir))
        use = Use.of_evaluation(screen, run.workdir, split, given)
        dataset = open_split(config, use)
        protocol = protocols.of_options(given, config)
        chosen = [given.get("checkpoint", "best")]
        if chosen == ["all"]:
            chosen = list(map(str, open_checkpoints(run).steps()))
        if not chosen:
            raise UsageError(
                f"--checkpoint=all: {run.workdir} has no checkpoint; train it first"
            )
        for which in chosen:
            averaged = "average" in given
            network = from_checkpoint(run, which, config, mesh, averaged=averaged)
            evaluator = protocols.make_evaluator(protocol, network, mesh, screen)
            yield Member(evaluator, network, dataset, split, run)


def evaluate(
    members: Iterator[Member], cleanup: ExitStack | None, *, saves: bool
) -> dict[str, Any]:
    """Evaluates networks, and the mean of their probabilities, on a split.

    The results are in a new directory: those of the mean, and in its entry those of
    each member; with ``saves``, also the probabilities of all.

    Args:
      members: opened one after another; the first and one other are in memory.
      cleanup: as in ``run_directory.open_run``, for the new directory.
      saves: whether to write probabilities.

    Returns:
      The entry in eval/results.json by its key; nothing on the other processes.

    Raises:
      UsageError: members have other images or classes than the first.
    """
    first = next(members)
    config = first.network.config
    run = run_directory.open_run(
        None, config, first.run.screen, cleanup, prefix="ensemble-"
    )

    def predictions() -> Iterator[Prediction]:
        for number, member in enumerate(itertools.chain([first], members), start=1):
            prediction = member.predict()
            if saves:
                _write(prediction, run, f"probabilities_{member.split}_{number}.npz")
            yield prediction

    average, facts = mean(predictions())
    if not processes.index():
        names = first.network.class_names
        run_directory.create(run.workdir, config, names, ())
    network = dataclasses.replace(first.network, variables={}, origin={})
    tops = first.evaluator.more_tops
    known = Known(average, average.facts, more_tops=tops)
    answer = record.evaluate_split(known, network, first.dataset, first.split, run)
    if saves:
        facts_of_mean = {"network": str(run.workdir), **answer.get(first.split, {})}
        average = dataclasses.replace(average, facts=facts_of_mean)
        _write(average, run, f"probabilities_{first.split}.npz")
    if answer:
        say_table(facts, answer[first.split], run.screen)
        run.screen.say("wrote", f"{run.workdir}/eval/results.json")
    return answer


def evaluate_files(paths: Sequence[str], screen: Screen) -> dict[str, Any]:
    """Averages saved probabilities, without the networks and the images.

    Returns:
      The number of images, the errors in percent, the loss, and those of each file.

    Raises:
      UsageError: a file cannot be read, or has other images or classes.
    """
    average, facts = mean(read(path) for path in paths)
    summary = average.results().summary() | dict(average.facts)
    say_table(facts, summary, screen)
    return summary


def say_table(
    members: Sequence[Mapping[str, Any]], mean: Mapping[str, Any], screen: Screen
) -> None:
    """Prints the errors of each member, their range, and those of the mean."""
    screen.row()
    screen.row(f"{'top-1 error':>12}{'top-5 error':>13}{'loss':>9}   network")

    def say(numbers: Sequence[float], name: str, *, last: bool = False) -> None:
        top1, top5, loss = numbers
        screen.row(f"{top1:>10.2f} %{top5:>11.2f} %{loss:>9.3f}   {name}", last=last)

    keys = "top1_error", "top5_error", "loss"
    rows = np.array([[member[key] for key in keys] for member in members])
    for row, member in zip(rows, members, strict=True):
        say(row.tolist(), f"{member['network']}: {member['protocol']}")
    if len(rows) > 1:
        say(rows.min(axis=0).tolist(), "the lowest of each column")
        say(rows.max(axis=0).tolist(), "the highest of each column")
    say([mean[key] for key in keys], f"the {mean['protocol']}", last=True)


def _write(prediction: Prediction, run: Run, name: str) -> None:
    if not processes.index():
        prediction.write(run.workdir / "eval" / name)

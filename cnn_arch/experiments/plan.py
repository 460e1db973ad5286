"""An experiment: what its file in configs/experiments/ says, checked."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_arch import settings
from cnn_arch.errors import UsageError
from cnn_arch.experiments import measures, rules
from cnn_arch.installation import experiments, find_experiment
from cnn_arch.sweeps import manifest, space

EXAMPLE = "configs/experiments/degradation.py"
SIZES = {
    "minutes": "at most ten minutes on a laptop; may not decide",
    "full": "what docs/lectures.md reports",
}
FIGURES = "against", "curves", "dots", "layers", "times"  # see figures.py


@dataclasses.dataclass(frozen=True)
class Size:
    """How much an experiment is shortened."""

    seeds: int  # runs of each variant: seeds 0, 1 and so on
    settings: Mapping[str, Any]  # of all runs; they shorten the recipes
    variants: Sequence[str] = ()  # those that run; (): all
    measures: Sequence[str] = ()  # those that are taken; (): all


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A claim, and how it is tried."""

    name: str  # of its file
    claim: str  # in one or two sentences
    sources: Sequence[str]  # lectures and papers, with their numbers
    data: str  # cifar10, photographs: a folder that the user gives, or "": none
    variants: Mapping[str, Mapping[str, Any]]  # name -> its settings; "config": recipe
    settings: Mapping[str, Any]  # of all variants
    sizes: Mapping[str, Size]  # minutes and full
    measures: Sequence[str]  # keys of ``measures.MEASURES``, the first for the figure
    rule: Sequence[rules.Comparison]  # the claim holds if all of them do
    figure: str  # one of FIGURES
    caveats: str  # what the numbers cannot show
    # Train on every second class of the folder; measures may use the others.
    halves: bool = False
    series: Sequence[str] = ()  # keys of ``measures.SERIES``, for the figure
    group: int = 0  # so many seeds are measured together; 0: each alone
    drawn: Sequence[str] = ()  # variants in the figure; (): all

    def measured(self, size: str) -> Sequence[str]:
        """Returns the measures that are taken at a size."""
        return self.sizes[size].measures or self.measures

    def trials(self, size: str, data: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the variant and the settings of each run, seed by seed.

        ``data`` is what follows the colon of the recipes, if it is not "".
        """
        chosen = self.sizes[size]
        for seed in range(chosen.seeds):
            for variant in chosen.variants or self.variants:
                own = {**self.settings, **chosen.settings, **self.variants[variant]}
                recipe = own.pop("config")
                recipe = f"{recipe}:{data}" if data else recipe
                yield variant, {"config": recipe, **own, "seed": seed}

    @property
    def program(self) -> list[str]:
        """The command of a run: it trains, or without data measures times."""
        return ["train.py"] if self.data else ["analyze.py", "--measure"]


def read(name: str) -> Experiment:
    """Reads an experiment's file.

    Raises:
      UsageError: there is no such experiment, or its file is wrong.
    """
    path = find_experiment(name)
    found = space.call(name, path, "get_experiment", "experiment", EXAMPLE)
    try:
        return _make(path, **found)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{path}: not an experiment ({error}); see {EXAMPLE}"
        ) from None


def _make(path: Path, **found: Any) -> Experiment:
    sizes = {key: Size(**found["sizes"][key]) for key in SIZES}
    rule = [rules.Comparison(**each) for each in found["rule"]]
    made = Experiment(
        name=path.stem,
        **{**found, "sizes": sizes, "rule": rule},
    )
    for each in made.measures:
        measures.find(each)
    for each in made.series:
        measures.find_series(each)
    for size in made.sizes.values():
        if unknown := set(size.measures) - set(made.measures):
            raise ValueError(f"a size has {unknown.pop()}, which is no measure")
    _check_figure(made)
    _check_groups(made)
    _check_rule(made)
    return made


def _check_figure(made: Experiment) -> None:
    """Raises ValueError if there is nothing to draw."""
    if made.figure not in FIGURES:
        raise ValueError(f"the figure is not one of {', '.join(FIGURES)}")
    if made.figure == "against" and not any(map(measures.axis_of, made.measures)):
        raise ValueError("the figure needs a measure that has an axis")
    needed = "macs", "parameters", "published_error"
    if made.figure == "times" and not set(needed) <= set(made.measures):
        raise ValueError(f"the figure needs {', '.join(needed)}")
    if made.figure == "layers" and not made.series:
        raise ValueError("the figure needs a series")
    if unknown := set(made.drawn) - set(made.variants):
        raise ValueError(f"the figure has {unknown.pop()}, which is no variant")


def _check_groups(made: Experiment) -> None:
    """Raises ValueError if the seeds do not make whole groups."""
    joint = list(filter(measures.is_joint, made.measures))
    if bool(made.group) != bool(joint):
        raise ValueError("a joint measure needs the group, and a group needs one")
    for each in joint:
        if not 1 <= measures.places([each])[each] <= made.group:
            raise ValueError(f"{each} is not of 1 to {made.group} networks")
    for name, size in made.sizes.items():
        if made.group and size.seeds % made.group:
            raise ValueError(f"{name}: the seeds are not in groups of {made.group}")


def _check_rule(made: Experiment) -> None:
    """Raises ValueError if the rule compares what there is not."""
    known = set(made.measures)
    for each in made.rule:
        if each.scale not in rules.SCALES:
            raise ValueError(f"the rule has the scale {each.scale}")
        if unknown := {*each.measures} - known:
            raise ValueError(f"the rule compares {unknown.pop()}, which is no measure")
        for variant in (each.first, each.second):
            if variant not in made.variants:
                raise ValueError(f"the rule compares {variant}, which is no variant")


def read_all() -> list[Experiment]:
    """Reads the files of all experiments."""
    return [read(name) for name in experiments()]


def check_same(workdir: Path, words: Sequence[str], trials: Sequence[Any]) -> None:
    """Checks that a folder has no runs of an experiment with other settings.

    Raises:
      UsageError: it has.
    """
    if (workdir / manifest.NAME).exists():
        stored = manifest.load(workdir)
        listed = [trial.overrides for trial in stored.trials]
        if (stored.words, listed) != (list(words), list(trials)):
            reason = "the experiment's file has changed"
            if stored.words != list(words):
                reason = " ".join(stored.words) or "without those"
            raise UsageError(
                f"--workdir={workdir}: has runs with other settings ({reason}); choose "
                "another --workdir, or delete it"
            )


def check_data(trial: Mapping[str, Any], words: Sequence[str]) -> None:
    """Checks that the data of the runs is there, before the first of them starts.

    Raises:
      UsageError: it is not.
    """
    from cnn_arch.datasets.dataset import load_dataset

    quick = {"data.in_memory": False, "data.skip_broken": True}
    config, _ = settings.parse([*words, *space.words_of({**trial, **quick})])
    load_dataset(config.data)


def check(
    experiment: Experiment, size: str, data: str, words: Sequence[str]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns the variant and the settings of each run, as JSON stores them.

    Settings in ``words`` replace those of the experiment.

    Raises:
      UsageError: a setting is invalid, or ``words`` change what the runs vary.
    """
    given = {word.partition("=")[0].removeprefix("--config.") for word in words}
    if "seed" in given:
        raise UsageError("--config.seed: an experiment has its seeds; leave it out")
    for variant, own in experiment.variants.items():
        if taken := given.intersection(own):
            raise UsageError(
                f"--config.{taken.pop()}: {variant} of {experiment.name} has its own; "
                "leave it out"
            )
    variants, trials = [], []
    for variant, own in experiment.trials(size, data):
        variants.append(variant)
        trials.append({key: own[key] for key in own if key not in given})
    settings.parse([f"--config={trials[0]['config']}", *words])
    return variants, space.check_trials(experiment.name, trials, words)

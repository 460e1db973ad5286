"""Which run continues in a directory: the settings and the data that it must keep."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from cnn_arch import choices, folders, settings
from cnn_arch.errors import UsageError
from cnn_arch.files import read_json, write_text
from cnn_arch.screen import Screen

# Settings that may change when a run continues: they change the order of sums, the end
# of the run or its test, and nothing else in the result. (Dropout's masks are the same
# on any mesh.) The images are compared one by one, wherever their folder is.
FREE = (
    "mesh.data", "mesh.model", "data.dir", "data.skip_broken", "data.num_threads",
    "data.keep_decoded", "checkpoint.every_minutes", "early_stopping", "test.protocol",
    "test.scales", "test.combine", "log.layer_gradients",
)  # fmt: skip
# Another value of these is another run, whatever the version.
IDENTITY = ("model.name", "seed", "data.source", "data.name", "data.dir")
# Schedules whose rates do not depend on the length of the run.
OF_ANY_LENGTH = ("constant", "step", "exponential", "plateau")


def check_same_run(path: Path, config: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """Checks that a directory has a run with this config, or nothing that matters.

    Returns:
      The settings that have changed, with their old and new values: they may change
      when a run continues.

    Raises:
      UsageError: it has another run, or files that are not of a run.
    """
    folders.check_no_others(path)
    if not (path / "config.json").exists():
        return {}
    fields = choices.EARLIER_FIELDS
    stored = fields | settings.flatten(settings.from_json(path / "config.json"))
    given = fields | settings.flatten(config)
    changes = {
        key: (stored.get(key), given.get(key))
        # The network first: another one also differs in many other settings.
        for key in ("model.name", *sorted(stored.keys() | given.keys()))
        if stored.get(key) != given.get(key)
    }
    for key, (old, new) in changes.items():
        if not _is_free(key, old, new, config):
            schedule = f"and the rate of optim.schedule={config.optim.schedule}"
            reason = f" {schedule} depends on them" * (key in ("epochs", "steps"))
            raise UsageError(
                f"--workdir={path}: has a run with {key}={old}, this one has {new}"
                f"{reason}; choose another --workdir"
            )
    return changes


def _is_free(key: str, old: Any, new: Any, config: ConfigDict) -> bool:
    if key == "epochs" and config.steps:
        return True  # the length is in steps
    if key in ("epochs", "steps"):  # the rates of cosine depend on the length
        # Other lengths in the same unit: the schedule is in the unit of the length.
        has_unit = key == "epochs" or (old and new)
        return has_unit and config.optim.schedule in OF_ANY_LENGTH
    return key in FREE or (key == "data.name" and config.data.source == "folder")


def is_worth_keeping(path: Path) -> bool:
    """Whether a directory has a saved step or results, so that no other run may start.

    A run that diverged before its first checkpoint can start again with other settings.
    """
    steps = (path / "checkpoints").glob("*")
    return any(step.name[0].isdigit() for step in steps) or (path / "eval").exists()


def match_run(
    path: Path, config: FrozenConfigDict, given: Collection[str], screen: Screen
) -> FrozenConfigDict:
    """Returns the config to train with in a directory, which may have the same run.

    That run keeps its choices: the settings of ``choices.CHOSEN`` that are not
    ``given`` by the user, how it started, and what it has counted. A run of an earlier
    version keeps all settings that are not given: the recipe may have changed since.

    Raises:
      UsageError: the directory has another run, or files that are not of a run.
    """
    if not (path / "config.json").exists():
        check_same_run(path, config)
        return config
    if not is_worth_keeping(path):
        return config
    earlier = {key: choices.EARLIER_FIELDS[key] for key in choices.FIELDS_OF_THE_START}
    stored = earlier | settings.flatten(settings.from_json(path / "config.json"))
    chosen = settings.flatten(config)
    kept = {
        key: stored[key]
        for key in _kept_settings(path, stored)
        if (key not in given or chosen[key] == "auto")
        and key in chosen
        and stored[key] != chosen[key]
    }
    counted = [
        key
        for key in choices.COUNTED
        if chosen[key] in choices.TO_COUNT
        and stored[key] not in (*choices.TO_COUNT, "none")
    ]
    named = [f"{key}={value}" for key, value in kept.items() if key not in counted]
    kept |= {key: stored[key] for key in counted}
    if kept:
        screen.say("", f"with {', '.join(named + counted)}, as the run began")
    config = settings.derive(config, kept)
    for key, (old, new) in check_same_run(path, config).items():
        screen.say("changed", f"{key}={new}, before {old}")
    return config


def _kept_settings(path: Path, stored: Mapping[str, Any]) -> Collection[str]:
    """Returns the settings that a run keeps, unless they are given."""
    written = settings.flatten(read_json(path / "config.json"))
    kept = *choices.CHOSEN, *choices.FIELDS_OF_THE_START
    if choices.EARLIER.keys() <= written.keys():
        return kept
    return dict.fromkeys([*kept, *sorted(stored.keys() - set(IDENTITY))])


def is_same_data(path: Path, fingerprint: str) -> bool:
    """Returns whether the data is the same as when the run began, if it is known."""
    record = path / "data_fingerprint.txt"
    return not record.exists() or record.read_text().strip() == fingerprint


def check_same_data(path: Path, fingerprint: str) -> None:
    """Checks that the data is the same as when the run began; records it at first.

    Raises:
      UsageError: the data has changed.
    """
    if is_worth_keeping(path) and not is_same_data(path, fingerprint):
        raise UsageError(
            f"--workdir={path}: the data has changed since this run began; put it "
            "back, or choose another --workdir"
        )
    write_text(path / "data_fingerprint.txt", fingerprint + "\n")

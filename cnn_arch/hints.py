"""What a user meant by a word that does not exist: by its meaning, then its letters."""

import difflib
from collections.abc import Collection, Iterable

# What other programs call our settings.
MEANINGS = {
    "lr": "optim.learning_rate",
    "lr0": "optim.learning_rate",
    "rate": "optim.learning_rate",
    "wd": "optim.weight_decay",
    "l2": "optim.weight_decay",
    "scheduler": "optim.schedule",
    "lr_scheduler": "optim.schedule",
    "lr_steps": "optim.milestones",
    "boundaries": "optim.milestones",
    "gamma": "optim.factor",
    "lr_gamma": "optim.factor",
    "warmup": "optim.warmup_epochs",
    "warm_up": "optim.warmup_epochs",
    "batch": "batch_size",
    "batches": "batch_size",
    "bs": "batch_size",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "early_stop": "early_stopping",
    "max_steps": "steps",
    "num_steps": "steps",
    "iterations": "steps",
    "frozen": "freeze",
    "smoothing": "label_smoothing",
    "random_seed": "seed",
    "dtype": "precision",
    "amp": "precision",
    "fp16": "precision",
    "bf16": "precision",
    "sync_bn": "batch_norm_statistics",
    "checkpointing": "remat",
    "dropout": "model.fields.dropout_rate",
    "dataset": "data.source",
    "data_dir": "data.dir",
    "data_path": "data.dir",
    "data": "data.dir",
    "path": "data.dir",
    "root": "data.dir",
    "size": "data.image_size",
    "imgsz": "data.image_size",
    "img_size": "data.image_size",
    "resolution": "data.image_size",
    "nc": "data.num_classes",
    "classes": "data.num_classes",
    "val_split": "data.validation_fraction",
    "augmentation": "data.train_crop",
    "hflip": "data.flip",
    "workers": "data.num_threads",
    "num_workers": "data.num_threads",
    "threads": "data.num_threads",
    "gpus": "mesh.data",
    "devices": "mesh.data",
    "save_every": "checkpoint.every_minutes",
}


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word with the most similar letters, if one is similar."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def choose(word: str, known: Collection[str]) -> str:
    """Returns a fix for a word that is none of the known ones."""
    near = difflib.get_close_matches(word, list(known), n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(known)}"


def no_network(name: str, known: Collection[str]) -> str:
    """Returns the message for a network that does not exist."""
    return (
        f"--config.model.name={name}: no such network; a network of your own needs the "
        f"recipe that registers it; {choose(name, known)}"
    )


def meant_setting(key: str, known: Collection[str]) -> str | None:
    """Returns the setting that a key names without its group, or by another name."""
    key = key.lower().replace("-", "_")
    last = {name.rpartition(".")[2]: name for name in reversed(list(known))}
    for each in (key, key.rpartition(".")[2]):
        for name in (each, MEANINGS.get(each), last.get(each)):
            if name in known:
                return name
    return None


def nearest_setting(key: str, known: Collection[str]) -> str | None:
    """Returns the setting that a key means, or else the one with similar letters."""
    if meant := meant_setting(key, known):
        return meant
    last = {name.rpartition(".")[2]: name for name in reversed(list(known))}
    near = nearest(key.rpartition(".")[2], last)
    return nearest(key, known) or (last[near] if near else None)

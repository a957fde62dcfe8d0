"""The state of a training on disk, so that an interrupted one goes on to the bit.

One file holds all that the next epoch depends on: the weights, the optimizer's
moments, the states of the random number generators, the history, the best weights so
far, and the settings, so that a training is not continued with others by mistake. The
file is written beside the old one and then takes its name, which a file system does in
one step: whenever the power fails, there is one whole checkpoint, the new or the old.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
from numpy.typing import NDArray

from seglab import device
from seglab.data import Dataset, Split
from seglab.training.history import History
from seglab.training.watch import Watch

FILE = "state.npz"
"""Name of the file in the checkpoint's folder."""

FORMAT = 1
"""Version of the file; a reader refuses one that it does not know."""

_NAMES = ("name", "layers", "input_layers", "output_layers")
"""Parts of a Keras configuration that are, or contain, names that Keras counts up from
model to model: conv2d, conv2d_1. A model's inner layers are described one by one."""

Arrays = list[NDArray[Any]]


class CheckpointError(ValueError):
    """A checkpoint cannot be continued: it is damaged, or of another training."""


@dataclass(frozen=True)
class State:
    """All that the next epoch of a training depends on.

    Parameters
    ----------
    settings : dict of str to str
        What must be the same for the training to go on: see `describe`.
    history : History
        Of the epochs so far.
    variables : list of ndarray
        Of the model: its weights, and the states of its own random number generators
        (dropout's), which `keras.Model.weights` leaves out.
    optimizer : list of ndarray
        Its variables: the step number, the moments, the loss scale.
    best_weights : list of ndarray
        As `keras.Model.get_weights` gave them after the best epoch; empty when no
        epoch had a mean IoU.
    random_state : dict
        Of the global generators: see `seglab.device.random_state`.
    """

    settings: dict[str, str]
    history: History
    variables: Arrays
    optimizer: Arrays
    best_weights: Arrays
    random_state: dict[str, Any]

    @classmethod
    def of(
        cls,
        model: keras.Model,
        history: History,
        best_weights: Arrays | None,
        settings: dict[str, str],
    ) -> State:
        """Take the state of a model that is being trained."""
        return cls(
            settings,
            history,
            [keras.ops.convert_to_numpy(v) for v in model.variables],
            [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables],
            best_weights or [],
            device.random_state(),
        )

    def restore(self, model: keras.Model) -> None:
        """Put the state into a compiled model of the same architecture."""
        model.optimizer.build(model.trainable_variables)
        for variables, values in (
            (model.variables, self.variables),
            (model.optimizer.variables, self.optimizer),
        ):
            for variable, value in zip(variables, values, strict=True):
                # A .npz file keeps bfloat16 as two bytes of no type.
                raw = value.dtype.kind == "V"
                variable.assign(value.view(variable.dtype) if raw else value)

    def write(self, folder: Path) -> None:
        """Write the state into a folder, whole or not at all."""
        history = self.history
        record = {
            "format": FORMAT,
            "settings": self.settings,
            "classes": history.classes,
            "loss": history.loss,
            "val_loss": history.val_loss,
            "best_epoch": history.best_epoch,
            "seconds": history.seconds,
            "learning_rate": history.learning_rate,
            "random_state": self.random_state,
        }
        arrays: dict[str, Any] = {"val_iou": history.val_iou}
        for group in ("variables", "optimizer", "best_weights"):
            for index, array in enumerate(getattr(self, group)):
                arrays[f"{group}/{index}"] = array
        record["arrays"] = len(arrays)
        arrays["record"] = np.array(json.dumps(record))
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / FILE, lambda file: np.savez(file, **arrays))

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """Read the state from a folder; None when there is none.

        Raises
        ------
        CheckpointError
            When the file is damaged, or of another version of seglab.
        """
        path = folder / FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                # Reading an array stops at its end, which a wrong header may set too
                # early for the checksum to be looked at.
                if file.zip.testzip() is not None:
                    raise zipfile.BadZipFile
                arrays = {name: file[name] for name in file.files}
            record = json.loads(str(arrays.pop("record")))
            if record["format"] == FORMAT:
                # A wrong length in the zip's directory can hide files.
                if record.get("arrays", len(arrays)) != len(arrays):
                    raise zipfile.BadZipFile
                return cls._of_file(record, arrays)
        except FileNotFoundError:
            return None
        except Exception as error:  # what damaged files raise has no class in common
            raise CheckpointError(
                f"{path} is damaged. Delete it to begin the training anew."
            ) from error
        raise CheckpointError(
            f"{path} was written by another version of seglab. Delete it to begin the "
            "training anew."
        )

    @classmethod
    def _of_file(cls, record: dict[str, Any], arrays: dict[str, Any]) -> State:
        def group(name: str) -> Arrays:
            count = sum(key.startswith(f"{name}/") for key in arrays)
            return [arrays[f"{name}/{index}"] for index in range(count)]

        history = History(
            tuple(record["classes"]),
            record["loss"],
            record["val_loss"],
            arrays["val_iou"],
            record["best_epoch"],
            record["seconds"],
            learning_rate=record["learning_rate"],
        )
        return cls(
            record["settings"],
            history,
            group("variables"),
            group("optimizer"),
            group("best_weights"),
            record["random_state"],
        )


class Checkpoint(keras.callbacks.Callback):
    """Keep the state of a training in a folder, and go on from what is there.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    settings : dict of str to str
        Of this training: see `describe`.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        super().__init__()
        self.folder, self.settings = folder, settings

    def resume(self, watch: Watch, model: keras.Model) -> None:
        """Put what the folder holds, if anything, into a watch and a compiled model.

        Raises
        ------
        CheckpointError
            When it is damaged, of other settings, or of more epochs than are asked for,
            or when several hosts find different ones.
        """
        self.watch = watch
        device.gather(0)  # wait until the host that writes has written
        state = State.read(self.folder)
        found = device.gather(len(state.history) if state else 0)
        if len(set(found)) > 1:
            raise CheckpointError(
                f"the hosts found checkpoints of {found} epochs in {self.folder}: it "
                "must be one folder that all of them see."
            )
        if state is None:
            return
        names = sorted({*self.settings, *state.settings})
        differing = [
            f"{name} was {state.settings.get(name)} and is {self.settings.get(name)}"
            for name in names
            if state.settings.get(name) != self.settings.get(name)
        ]
        if len(state.history) > watch.epochs:
            differing.append(
                f"{len(state.history)} epochs are trained already, and epochs is "
                f"{watch.epochs}"
            )
        if differing:
            raise CheckpointError(
                f"the checkpoint in {self.folder} is of another training: "
                f"{'; '.join(differing)}. Repeat the call that was interrupted to go "
                "on with it, or name another folder to begin anew."
            )
        state.restore(model)
        watch.resume(state.history, state.best_weights, state.random_state)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the state."""
        watch = self.watch
        State.of(self.model, watch.history(), watch.best_weights, self.settings).write(
            self.folder
        )


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file such that a reader finds the old one or the new one, whole.

    Parameters
    ----------
    path : Path
        The file to make or to replace. It is written under a name of its own that ends
        in ``.part``, so that two processes do not write into one file. One that is
        killed meanwhile leaves that file behind, which may be deleted.
    write : callable
        Takes the open file.
    """
    # Not tempfile's, which nobody but the owner could read.
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # on the disk, before it gets its name
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def describe(
    model: keras.Model, dataset: Dataset, settings: dict[str, Any]
) -> dict[str, str]:
    """Spell what decides how a training goes, for comparison.

    Parameters
    ----------
    model : keras.Model
        Its layers and their settings count, their names do not.
    dataset : Dataset
        A few images of the training and validation splits stand for all.
    settings : dict
        Arguments of `fit`. A function is spelled by its name, and an object without a
        `repr` of its own by its class: what is in them has no spelling that is the
        same in each process and version of Python.

    Returns
    -------
    dict of str to str
    """
    return {
        "backend": keras.backend.backend(),
        "model": _describe_model(model),
        "train": _describe_split(dataset.train),
        "val": _describe_split(dataset.val),
        **{
            key: text
            for name, value in settings.items()
            for key, text in _describe_setting(name, value).items()
        },
    }


def _describe_setting(name: str, value: Any) -> dict[str, str]:
    """Give a setting, and those of a Keras object one by one, for a short message."""
    if not hasattr(value, "get_config"):
        return {name: _spell(value)}
    config = value.get_config()
    parts = {
        f"{name}.{key}": _spell_config(part)
        for key, part in config.items()
        if key not in _NAMES
    }
    return {name: type(value).__qualname__} | parts


def _describe_model(model: keras.Model) -> str:
    layers = [
        _spell_layer(layer) for layer in model._flatten_layers(include_self=False)
    ]
    shapes = [f"{v.shape} {v.dtype} {v.trainable}" for v in model.variables]
    digest = hashlib.sha256("\n".join([*layers, *shapes]).encode()).hexdigest()
    return f"{len(layers)} layers (#{digest[:8]})"


def _describe_split(split: Split, samples: int = 8) -> str:
    digest = hashlib.sha256(repr((split.classes, split.ignore_index)).encode())
    # Evenly spread, first and last among them; one at a time, which may be on disk.
    for index in np.linspace(0, len(split) - 1, samples).astype(int).tolist():
        for array in (split.images, split.masks):
            digest.update(np.ascontiguousarray(array[index : index + 1]).tobytes())
    size = " x ".join(map(str, split.image_shape))
    return f"{len(split)} images of {size} (#{digest.hexdigest()[:8]})"


def _spell(value: Any) -> str:
    """Spell a setting the same way in every process: no address, no counted name."""
    if isinstance(value, float):
        return f"{value:.7g}"  # float32 keeps no more
    if isinstance(value, partial):
        rest = [_spell(v) for v in value.args]
        rest += [f"{k}={_spell(v)}" for k, v in sorted(value.keywords.items())]
        return f"{_spell(value.func)}({', '.join(rest)})"
    if hasattr(value, "__qualname__"):  # a function or a class
        return f"{value.__module__}.{value.__qualname__}"
    if repr(value) == object.__repr__(value):  # with an address
        return type(value).__qualname__
    return repr(value)


def _spell_layer(layer: keras.Layer) -> str:
    try:
        config = layer.get_config()
    except NotImplementedError:  # a layer that cannot be saved
        config = {}
    return f"{type(layer).__qualname__}({_spell_config(config)})"


def _spell_config(config: Any) -> str:
    if isinstance(config, dict) and {"class_name", "config"} <= config.keys():
        return f"{config['class_name']}({_spell_config(config['config'])})"
    if isinstance(config, dict):
        kept = {k: v for k, v in config.items() if k not in _NAMES}
        return ", ".join(f"{k}={_spell_config(v)}" for k, v in kept.items())
    if isinstance(config, Sequence) and not isinstance(config, str):
        return f"[{', '.join(map(_spell_config, config))}]"
    return _spell(config)

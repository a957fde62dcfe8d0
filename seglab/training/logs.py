"""What is written while a training runs: a CSV file, and files for TensorBoard."""

from __future__ import annotations

import csv
import importlib
import importlib.util
from pathlib import Path
from typing import Any

import keras

from seglab.training.checkpoint import write_atomically
from seglab.training.watch import Watch


class CsvLog(keras.callbacks.Callback):
    """Append a line to a file after each epoch; anything may read it meanwhile.

    Of a training that goes on from a checkpoint, the epochs before come first: there
    is one line for each epoch, however often it was interrupted.

    Parameters
    ----------
    path : Path
        The file. One that is there is replaced.
    watch : Watch
        Where the numbers come from.
    """

    def __init__(self, path: Path, watch: Watch) -> None:
        super().__init__()
        self.path, self.watch = path, watch

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin the file with what is known of earlier epochs."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = self.watch.history().to_csv().encode()
        write_atomically(self.path, lambda file: file.write(text))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Append the epoch's line; closing the file hands it to the system."""
        *_, row = self.watch.history().rows()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)


class TensorBoardLog(keras.callbacks.Callback):
    """Write losses, IoU and learning rate for TensorBoard to draw.

    Parameters
    ----------
    folder : Path
        Where TensorBoard looks: ``tensorboard --logdir FOLDER``. It draws all that
        was ever written there: give each training a folder of its own.

    Raises
    ------
    ImportError
        When TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "tensorboard= writes files for TensorBoard, which is not installed. "
                "Install it with pip install tensorboard, or use log= for a CSV file."
            )
        self.folder = folder

    def on_train_begin(self, logs: Any = None) -> None:
        """Open a file of events."""
        # Not tf.summary: this needs no TensorFlow, so that JAX and PyTorch log too.
        summary = importlib.import_module("tensorboard.summary")
        self.writer = summary.Writer(str(self.folder))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write what `Watch` has put into the epoch's logs."""
        for name, value in logs.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Close the file."""
        self.writer.close()

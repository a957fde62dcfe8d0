"""Train a segmentation network, and measure it: `fit` and `evaluate`.

`fit` trains on a data set's train split and validates on its val split; `evaluate`
reports, class by class, on any split. Both take any Keras model that gives logits for
each pixel.
"""

from seglab import device

device.prepare()  # before Keras: it says what to install if the backend is missing

from seglab.training import schedules  # noqa: E402
from seglab.training.checkpoint import CheckpointError  # noqa: E402
from seglab.training.evaluation import evaluate  # noqa: E402
from seglab.training.finder import RangeTest, find_learning_rate  # noqa: E402
from seglab.training.history import History  # noqa: E402
from seglab.training.loop import fit  # noqa: E402
from seglab.training.reconstruction import fit_reconstruction  # noqa: E402
from seglab.training.restart import restart  # noqa: E402
from seglab.training.watch import DivergedError  # noqa: E402

__all__ = [
    "CheckpointError",
    "DivergedError",
    "History",
    "RangeTest",
    "evaluate",
    "find_learning_rate",
    "fit",
    "fit_reconstruction",
    "restart",
    "schedules",
]

"""``seglab train``: from a data set to a model that segments, in one command."""

from __future__ import annotations

import math
import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from seglab.cli import options
from seglab.cli.data import recipe as make_recipe
from seglab.cli.data import save_figure
from seglab.cli.errors import CommandError, out

if TYPE_CHECKING:
    from seglab.data import Augment, Dataset


class Augmentation(StrEnum):
    """How training images are varied; each word must be true of the data."""

    none = "none"
    mirror = "mirror"
    symmetry = "symmetry"
    full = "full"


class Schedule(StrEnum):
    """How the learning rate changes; named as in seglab.training.schedules."""

    constant = "constant"
    cosine = "cosine"
    polynomial = "polynomial"
    one_cycle = "one-cycle"


class Sampling(StrEnum):
    """How the images of an epoch are drawn; as in seglab.training.fit."""

    uniform = "uniform"
    balanced = "balanced"


FEW_STEPS = 4
"""Steps an epoch, below which a smaller batch is worth a hint."""

CHECKPOINT = "checkpoint"
"""Folder in a run that holds the state of an unfinished training."""


def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help=options.DATA_HELP)],
    to: Annotated[
        Path, typer.Option("--out", metavar="RUN", help="Folder for the results.")
    ],
    width: Annotated[
        int, typer.Option(metavar="N", help="Channels of the U-Net's first level.")
    ] = 8,
    depth: Annotated[int, typer.Option(metavar="N", help="Poolings of the U-Net.")] = 4,
    epochs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Passes over the training images.")
    ] = 20,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images for each step.")
    ] = 16,
    learning_rate: Annotated[
        float, typer.Option(metavar="R", help="Of the optimizer, Adam.")
    ] = 3e-3,
    schedule: Annotated[
        Schedule,
        typer.Option(
            help="Change the learning rate on the way, from the given one to (nearly) "
            "0; one-cycle rises to it first."
        ),
    ] = Schedule.constant,
    warm_up: Annotated[
        float,
        typer.Option(
            metavar="0-1",
            help="Share of the training that the rate first rises from 0 in.",
        ),
    ] = 0.0,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Stop when the mean IoU has not risen for N epochs.",
            show_default="never",
        ),
    ] = None,
    augment: Annotated[
        Augmentation,
        typer.Option(
            help="Vary training images: mirror left and right; symmetry: all flips "
            "and quarter turns; full: also turn, zoom, shift and shade them."
        ),
    ] = Augmentation.none,
    sampling: Annotated[
        Sampling,
        typer.Option(
            help="Show each image once an epoch; or draw them so that rare classes are "
            "seen as often as frequent ones."
        ),
    ] = Sampling.uniform,
    count: options.Count = None,
    size: options.Size = None,
    seed: options.Seed = 0,
    difficulty: options.Difficulty = None,
    contrast: options.Contrast = False,
    where: options.Where = None,
    merge: options.Merge = None,
    ignore: options.Ignore = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a training that was interrupted: the same command again.",
        ),
    ] = False,
    force: options.Force = False,
) -> None:
    """Train a U-Net and keep the weights that segment the validation images best.

    Writes model.keras, run.json (how it came about), history.csv and curves.png.
    """
    recipe = make_recipe(
        data, count, size, seed, difficulty, contrast, where, merge, ignore
    )
    _check_folder(to, force, resume)
    if not learning_rate > 0:
        raise CommandError(f"--learning-rate is {learning_rate}; it must be above 0.")
    if not 0 <= warm_up < 1:
        raise CommandError(f"--warm-up is {warm_up}; it must be from 0 to below 1.")
    dataset = recipe.load()
    out.print(Text(repr(dataset)))
    _check_sides(dataset.image_shape[:2], depth)
    steps = math.ceil(len(dataset.train) / batch_size)  # an epoch
    if steps < FEW_STEPS and batch_size > 2:
        smaller = max(2, len(dataset.train) // FEW_STEPS)
        out.print(
            f"{len(dataset.train)} training images in batches of {batch_size}: "
            f"{steps} step{'s' * (steps > 1)} an epoch. If it learns too little, try "
            f"--batch-size {smaller} or more epochs."
        )

    from seglab.cli import run as runs

    scale = runs.training_scale(recipe, dataset.image_shape)
    from seglab import device, plots
    from seglab.models import unet
    from seglab.training import evaluate, fit

    device.set_seed(seed)
    model_arguments: dict[str, Any] = {"width": width, "depth": depth}
    device.set_seed(seed)
    channels = dataset.image_shape[-1]
    model = unet((None, None, channels), dataset.num_classes, **model_arguments)
    training: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "patience": patience,
        "sampling": sampling.value,
    }
    if not resume:
        shutil.rmtree(to / CHECKPOINT, ignore_errors=True)  # of a run to overwrite
    # A bar in a terminal; a line for each epoch in a log.
    progress: Any = True if out.is_terminal else "lines"
    history = fit(
        model,
        dataset,
        augment=_augment(augment),
        checkpoint=to / CHECKPOINT,
        progress=progress,
        **{**training, "learning_rate": _rate(learning_rate, schedule, warm_up)},
    )
    if history.interrupted:
        out.print(
            f"Stopped after {len(history)} of {epochs} epochs; the best are kept. "
            "To go on: the same command with --resume."
        )
    report = evaluate(model, dataset.val)

    to.mkdir(parents=True, exist_ok=True)
    (to / runs.RECORD).unlink(missing_ok=True)  # it is what makes a run complete
    model.save(to / runs.MODEL)
    history.to_csv(to / runs.HISTORY)
    save_figure(plots.learning_curves(history), to / runs.CURVES)
    path = recipe.path
    runs.Run(
        folder=to,
        # Another working directory must find the same data.
        recipe=_with_full_path(recipe),
        classes=dataset.classes,
        ignore_index=dataset.ignore_index,
        channels=channels,
        scale=scale,
        model=model_arguments,
        training={
            **training,
            "augment": augment.value,
            "schedule": schedule.value,
            "warm_up": warm_up,
        },
        dataset={**_describe(dataset), "path": path and str(path.resolve())},
        versions=device.report(),
        results={
            "seconds": round(history.seconds, 1),
            "best_epoch": history.best_epoch,
            "interrupted": history.interrupted,
            "stopped_early": history.stopped_early,
            "val": report.to_dict(),
        },
    ).write()
    if not history.interrupted:
        shutil.rmtree(to / CHECKPOINT, ignore_errors=True)
    out.print()
    out.print(report)
    if report.pixel_accuracy < report.pixels.max() / max(1, report.pixels.sum()):
        out.print(
            "That is worse than one class everywhere: it has not learned yet. Try more "
            "--epochs, a smaller --batch-size, or another --learning-rate."
        )
    out.print(Text(f"Wrote {to}. Next: seglab evaluate {to}"))


def _check_sides(sides: tuple[int, int], depth: int) -> None:
    """Refuse images whose sides cannot be halved as often as the U-Net does."""
    step = 2**depth
    if all(side % step == 0 for side in sides):
        return
    fitting = "x".join(str(max(step, side // step * step)) for side in sides)
    # How often both sides can be halved: the zeros at their end, written in twos.
    possible = min(side & -side for side in sides).bit_length() - 1
    shallower = f", or --depth {possible}" if possible else ""
    raise CommandError(
        f"the images are {sides[0]} × {sides[1]}, and a U-Net of depth {depth} halves "
        f"them {depth} times: both sides must be multiples of {step}. Add --size "
        f"{fitting}{shallower}."
    )


def _check_folder(to: Path, force: bool, resume: bool) -> None:
    unfinished = (to / CHECKPOINT).is_dir()
    if to.exists() and not to.is_dir():
        raise CommandError(f"--out is {to}, which is a file; name a folder.")
    if resume and force:
        raise CommandError("--resume goes on with a run, and --force overwrites it.")
    if resume and not unfinished:
        raise CommandError(
            f"{to} holds no unfinished training to --resume: it was never begun, did "
            "not finish an epoch, or is complete."
        )
    if to.is_dir() and any(to.iterdir()) and not (force or resume):
        raise CommandError(
            f"{to} is not empty; name another folder, or add --force to overwrite the "
            "run in it"
            + (", or --resume to go on with its training." if unfinished else ".")
        )


def _rate(learning_rate: float, schedule: Schedule, warm_up: float) -> Any:
    from seglab.training import schedules

    if schedule is Schedule.constant and not warm_up:
        return learning_rate
    made: schedules.Schedule = {
        Schedule.constant: schedules.Constant,
        Schedule.cosine: schedules.Cosine,
        Schedule.polynomial: schedules.Polynomial,
        Schedule.one_cycle: schedules.OneCycle,
    }[schedule](learning_rate)
    return schedules.WarmUp(made, warm_up) if warm_up else made


def _augment(kind: Augmentation) -> Augment | None:
    from seglab.data import Augment

    if kind is Augmentation.none:
        return None
    if kind is Augmentation.symmetry:
        return Augment.dihedral()
    if kind is Augmentation.full:
        return Augment()
    return Augment(
        flip="horizontal", rotate=0, scale=0, shift=0, brightness=0, contrast=0
    )


def _with_full_path(recipe: Any) -> Any:
    from dataclasses import replace

    from seglab.data import names

    if recipe.data in names():
        return recipe
    return replace(recipe, data=str(Path(recipe.data).expanduser().resolve()))


def _describe(dataset: Dataset) -> dict[str, Any]:
    """Give what run.json says of the data."""
    texts = ("name", "title", "licence", "source", "attribution", "notes")
    return {
        **{key: getattr(dataset, key) for key in texts},
        "image_shape": list(dataset.image_shape),
        "images": {name: len(split) for name, split in dataset.splits().items()},
    }

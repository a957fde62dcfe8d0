"""A run: the folder with a trained model and all that is needed to use it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seglab import data as seglab_data
from seglab.cli.errors import CommandError

if TYPE_CHECKING:
    from seglab.data import Dataset, Split

FORMAT = 1
"""Version of run.json; a reader refuses one that it does not know."""

MODEL, RECORD, HISTORY, CURVES = "model.keras", "run.json", "history.csv", "curves.png"


@dataclass(frozen=True)
class Recipe:
    """Which images, and what is done to them before a network sees them.

    Parameters
    ----------
    data : str
        A data set's name, or the path of a folder or zip.
    count, size, seed, difficulty : optional
        As in `seglab.data.load`.
    where : dict of str to list of str
        Columns and the values to keep, as text.
    merge : dict of str to (str or None)
        As in `seglab.data.Dataset.merge_classes`.
    contrast : bool
        Stretch each image's contrast.
    """

    data: str
    count: int | None = None
    size: int | tuple[int, int] | None = None
    seed: int = 0
    difficulty: float | None = None
    where: dict[str, list[str]] = field(default_factory=dict)
    merge: dict[str, str | None] = field(default_factory=dict)
    contrast: bool = False

    def load(self) -> Dataset:
        """Load the data set as the recipe says."""
        options: dict[str, Any] = {}
        if self.difficulty is not None:
            options["difficulty"] = self.difficulty
        # Choose among the images that remain, not among those that are then dropped.
        count = None if self.where else self.count
        dataset = seglab_data.load(
            self.data, seed=self.seed, count=count, size=self.size, **options
        )
        if self.where:
            dataset = dataset.where(**_typed(self.where, dataset))
            if self.count is not None:
                dataset = _choose(dataset, self.count, self.seed)
        if self.merge:
            dataset = dataset.merge_classes(self.merge)
        if self.contrast:
            dataset = dataset.map_images(seglab_data.stretch_contrast)
        return dataset

    @property
    def path(self) -> Path | None:
        """Where the files are; None for a set that needs none."""
        if self.data not in seglab_data.names():
            return Path(self.data)
        return seglab_data.find(self.data)


@dataclass(frozen=True)
class Run:
    """What run.json holds: how a model came about, and how to feed it.

    Parameters
    ----------
    folder : Path
        Where the run is.
    recipe : Recipe
        Data and preprocessing.
    classes : tuple of str
        The classes that the model tells apart.
    ignore_index : int or None
        Label of pixels that are not annotated.
    channels : int
        Of the images, 1 or 3.
    scale : (float, float) or None
        Factor by which training resized height and width: the model knows objects
        at that size. None when the images had several sizes, so that each was
        resized by another factor.
    model : dict
        Arguments of `seglab.models.unet`.
    training : dict
        Arguments of `seglab.training.fit`.
    dataset, versions, results : dict
        For the record: title, licence and counts; the machine; what was reached.
    """

    folder: Path
    recipe: Recipe
    classes: tuple[str, ...]
    ignore_index: int | None
    channels: int
    scale: tuple[float, float] | None
    model: dict[str, Any]
    training: dict[str, Any]
    dataset: dict[str, Any]
    versions: dict[str, Any]
    results: dict[str, Any]

    def write(self) -> None:
        """Write run.json."""
        record = {"format": FORMAT, **asdict(self)}
        del record["folder"]
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        (self.folder / RECORD).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read a finished run, or say why there is none."""
        if not folder.is_dir():
            raise CommandError(
                f"there is no run at {folder}; seglab train DATA --out {folder} makes "
                "one."
            )
        for name in (RECORD, MODEL):
            if not (folder / name).is_file():
                raise CommandError(
                    f"{folder} has no {name}: it is not a run of seglab train, or one "
                    "that did not finish."
                )
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            if record.pop("format") != FORMAT:
                raise CommandError(
                    f"{folder / RECORD} was written by another version of seglab; "
                    "train anew."
                )
            recipe = Recipe(**record.pop("recipe"))
            run = cls(folder=folder, recipe=recipe, **record)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError):
            raise CommandError(
                f"{folder / RECORD} is damaged or was edited; train anew."
            ) from None
        # JSON has lists where the program has tuples.
        size = tuple(recipe.size) if isinstance(recipe.size, list) else recipe.size
        return replace(
            run,
            recipe=replace(recipe, size=size),
            classes=tuple(run.classes),
            scale=None if run.scale is None else (run.scale[0], run.scale[1]),
        )

    def load_model(self) -> Any:
        """Load the trained Keras model."""
        from seglab import device

        device.prepare()
        import keras

        import seglab.models  # noqa: F401  it registers the networks' own layers

        try:
            return keras.saving.load_model(self.folder / MODEL, compile=False)
        except (ValueError, OSError, KeyError) as error:
            raise CommandError(
                f"{self.folder / MODEL} cannot be loaded: {error}"
            ) from error


def stored_sizes(path: Path) -> set[tuple[int, int]]:
    """Give the sizes (height, width) of the images of a data set on disk."""
    from PIL import Image

    from seglab.data._archive import listing, open_tree

    turned = {5, 6, 7, 8}  # EXIF orientations that swap height and width
    sizes = set()
    with open_tree(path.expanduser()) as root:
        for entry in listing(listing(root)["images"]).values():
            with entry.open("rb") as file, Image.open(file) as image:
                width, height = image.size
                if image.getexif().get(0x0112) in turned:
                    height, width = width, height
                sizes.add((height, width))
    return sizes


def training_scale(
    recipe: Recipe, shape: tuple[int, ...]
) -> tuple[float, float] | None:
    """Find the factor by which the recipe resizes stored images, (1, 1) for none."""
    if recipe.size is None or recipe.path is None:
        return 1.0, 1.0
    sizes = stored_sizes(recipe.path)
    if len(sizes) > 1:
        return None
    ((height, width),) = sizes
    return shape[0] / height, shape[1] / width


def _typed(where: dict[str, list[str]], dataset: Dataset) -> dict[str, list[Any]]:
    """Turn text from the command line into the values that a column holds."""
    typed: dict[str, list[Any]] = {}
    for column, texts in where.items():
        values = set(_values(column, dataset.splits().values()))
        typed[column] = [
            next((value for value in values if str(value) == text), text)
            for text in texts
        ]
    return typed


def _values(column: str, splits: Any) -> Iterator[Any]:
    for split in splits:
        yield from split.columns.get(column, np.array([])).tolist()


def _choose(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Keep `count` images over all splits, at random, in the splits' proportions."""
    splits = dataset.splits()
    total = sum(len(split) for split in splits.values())
    if not 3 <= count <= total:
        raise CommandError(
            f"--count is {count}; it must be from 3 (train, val and test each need an "
            f"image) to {total}, the images that --where leaves."
        )

    # One image each, then one after the other to the split that lacks most.
    due = {name: count * len(split) / total for name, split in splits.items()}
    sizes = dict.fromkeys(splits, 1)
    for _ in range(count - len(sizes)):
        sizes[max(due, key=lambda name: due[name] - sizes[name])] += 1
    kept: dict[str, Split] = {}
    for number, (name, split) in enumerate(splits.items()):
        order = np.random.default_rng([seed, number]).permutation(len(split))
        kept[name] = split[np.sort(order[: sizes[name]])]
    return replace(dataset, train=kept["train"], val=kept["val"], test=kept["test"])

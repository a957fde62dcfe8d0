"""Data sets on disk: a folder or a zip of images with their masks.

The layout, ours and the user's own::

    images/NAME.png      or .webp, .jpg: gray or RGB
    masks/NAME.png       8 bits per pixel: the number of its class
    instances/NAME.png   optional, 16 bits: the number of its object, 0 for none
    index.csv            optional: name, split (train, val, test), anything else
    dataset.json         optional: name, title, classes, ignore_index, licence,
                         source, attribution, notes

The same code reads folder and zip. What a user can get wrong is found here, with
the file's name and the way to mend it, and not as a puzzling result of training.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seglab.data._archive import Tree, listing, open_tree
from seglab.data._decode import (
    FORMATS,
    Size,
    read_bytes,
    read_image,
    read_instances,
    read_mask,
    read_upright,
)
from seglab.data._simulation import SPLIT_NAMES, check_seed, check_size, split_sizes
from seglab.data.dataset import DEFAULT_IGNORE, DataError, Dataset, Split
from seglab.data.stream import MAX_MEMORY, StreamedArray
from seglab.data.transforms import resize_masks
from seglab.progress import show

MAX_INFERRED_CLASSES = 64
"""Most classes that are guessed from labels: above, values are gray levels."""

TEXTS = ("name", "title", "licence", "source", "attribution", "notes")
"""Keys of dataset.json that are read as text."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class MissingDataError(DataError, FileNotFoundError):
    """No data set where one was looked for; the message says where and what to do."""


@dataclass(frozen=True)
class _Files:
    """The files of one image."""

    image: Tree
    mask: Tree
    instances: Tree | None


@dataclass(frozen=True)
class _Facts:
    """What must be known of every image before the first is used."""

    shape: tuple[int, ...]  # of the image as read: (H, W) or (H, W, 3)
    size: Size  # before resizing
    labels: NDArray[np.int64]  # all labels of the mask before resizing
    pixels: NDArray[np.int64]  # how many of each of these labels, after resizing
    turned: bool  # whether EXIF turned the image, and not the mask
    checksums: dict[str, int]  # of the files, by folder


@dataclass(frozen=True)
class _Sample:
    """One image with its labels, read and resized."""

    image: NDArray[Any]  # (H, W) or (H, W, 3), uint8 or float32
    mask: NDArray[np.uint8]  # (H, W)
    instances: NDArray[np.int32] | None  # (H, W)
    facts: _Facts


def read_folder(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    count: int | None = None,
    seed: int = 0,
    stream: bool = False,
) -> Dataset:
    """Read a data set from a folder or a zip.

    Only ``images/`` and ``masks/`` are needed, with a mask for each image under
    the same name; the layout is spelled out at the head of this module. Without a
    ``split`` column in ``index.csv`` the images are split at random, 70 % / 15 % /
    15 %; a val or test split that the column does not have is taken from train.
    Without classes in ``dataset.json`` they are numbered by the labels that occur.
    The data set's notes say so.

    Parameters
    ----------
    path : str or path
        A folder or a zip file.
    size : int or (int, int), optional
        Resize to this side, or (height, width), in pixels: images by averaging,
        masks and instances by the nearest label. Needed when the images have
        several sizes. The aspect ratio is not kept.
    count : int, optional
        Read so many images over all splits, in the splits' proportions, chosen at
        random. Fewer images of a split are always a part of more of them; but
        rounding may leave a split an image less when `count` grows, unless all splits
        have one size.
    seed : int
        Seed of the random split and choice.
    stream : bool, default False
        Leave images and masks on disk and read those that are indexed, each time anew:
        for data that do not fit into memory. Every file is still read once here, so
        that what is wrong with one is said now and not in the third hour of training;
        a file whose bytes have changed since is refused when it is read. A zip stays
        open.

    Returns
    -------
    Dataset
        Images have three channels when any of them has color. With `stream` their
        arrays are `seglab.data.stream.StreamedArray`, which give the same values.

    Raises
    ------
    MissingDataError
        When there is nothing at `path`.
    DataError
        When the data break the layout. The message names the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for kind in ("images", "masks"):
    ...     (folder / kind).mkdir()
    ...     for name in "abcdefghij":
    ...         pixels = np.eye(8, dtype=np.uint8)
    ...         Image.fromarray(pixels).save(folder / kind / f"{name}.png")
    >>> data = read_folder(folder)
    >>> [len(split) for split in data.splits().values()], data.classes
    ([6, 2, 2], ('class 0', 'class 1'))
    """
    path = Path(path).expanduser()
    new_size = None if size is None else check_size(size, smallest=1)
    check_seed(seed)
    if not path.exists():
        raise MissingDataError(
            f"there is no folder or zip at {str(path)!r} (from {Path.cwd()})."
        )
    with ExitStack() as stack:
        root = stack.enter_context(open_tree(path))
        said: list[str] = []
        card = _read_card(root)
        files = _pair(root)
        splits, columns = _read_index(root, tuple(files))
        names = _complete_splits(splits, tuple(files), seed, said)
        chosen = _choose(names, count, seed)
        order = [name for split in SPLIT_NAMES for name in chosen[split]]
        samples: dict[str, _Sample] = {}
        if stream:
            facts = _examine(files, order, new_size)
        else:
            samples = _read_samples(files, order, new_size)
            facts = {name: sample.facts for name, sample in samples.items()}
        labels = {name: facts[name].labels for name in order}
        if card.classes is None:  # the classes must not depend on the choice
            rest = [name for name in files if name not in facts]
            labels |= _read_labels(files, rest)
        classes, ignore = _check_labels(labels, card, said)
        _check_sizes({name: facts[name].size for name in order}, new_size)
        # A zip that is read again and again stays open as long as what holds this.
        keep = stack.pop_all() if stream else None

    color = [name for name in order if len(facts[name].shape) == 3]
    if color and len(color) < len(order):
        said.append(
            f"{len(order) - len(color)} of {len(order)} images are gray; all are given "
            "as RGB."
        )
    turned = [name for name in order if facts[name].turned]
    if turned:
        said.append(
            f"{len(turned)} of {len(order)} images, such as {turned[0]}, were turned "
            "upright as the camera's mark in them (EXIF) says, and their masks were "
            "not: a mask must be drawn on the upright picture."
        )
    for text in said:
        log.info("%s: %s", path, text)

    texts = {"name": path.stem} | card.texts
    texts["notes"] = " ".join(filter(None, (texts.get("notes"), *said)))

    channels = 3 if color else 1

    def split(which: str) -> Split:
        names = chosen[which]
        if stream:
            reader = _Reader(
                [files[name] for name in names],
                [facts[name] for name in names],
                channels,
                new_size,
                keep,
            )
            arrays = reader.arrays(len(classes))
        else:
            arrays = _stack([samples[name] for name in names], channels)
        return Split(
            **arrays,
            classes=classes,
            ignore_index=ignore,
            names=tuple(names),
            columns={
                column: np.array([values[name] for name in names])
                for column, values in columns.items()
            },
        )

    return Dataset(train=split("train"), val=split("val"), test=split("test"), **texts)


def save(dataset: Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a data set to disk, in the layout that `read_folder` reads.

    So simulated images can be looked at with any program, handed out, or labeled
    anew. Images are stored as 8-bit PNG, so a value changes by up to 1/510.

    Parameters
    ----------
    dataset : Dataset
        With gray or RGB images.
    path : str or path
        A folder to make, or a zip file when it ends in ``.zip``. The same data
        set gives the same zip, byte for byte.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    DataError
        When something is at `path` already, or the data do not fit the layout.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> part = Split(
    ...     np.zeros((2, 8, 8, 1), np.float32),
    ...     np.zeros((2, 8, 8), np.int32),
    ...     classes=("background", "cell"),
    ... )
    >>> data = Dataset("empty", train=part, val=part, test=part)
    >>> written = save(data, Path(tempfile.mkdtemp()) / "empty.zip")
    >>> len(read_folder(written).train)
    2
    """
    path = Path(path).expanduser()
    if path.exists():
        raise DataError(
            f"{path} exists already and is not overwritten; remove it, or choose "
            "another path."
        )
    # Nothing stands under the final name until all of it is written.
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(part)  # what an interrupted save may have left
    try:
        if path.suffix.lower() == ".zip":
            _write_zip(part, _layout(dataset))
        else:
            for name, data in _layout(dataset):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(data)
        part.rename(path)
    finally:
        _remove(part)
    return path


# --- what is there -----------------------------------------------------------


def _pair(root: Tree) -> dict[str, _Files]:
    """Find each image's mask, by name."""
    inside = listing(root)
    for folder in ("images", "masks"):
        if folder not in inside or not inside[folder].is_dir():
            raise DataError(
                f"{root} has no folder {folder}/; it holds {_some(inside)}. A data set "
                "has images/NAME.png (or .webp, .jpg) and masks/NAME.png."
            )
    images = _stems(inside["images"], tuple(FORMATS))
    masks = _stems(inside["masks"], (".png",))
    if not images:
        raise DataError(f"images/ in {root} is empty.")
    for have, lack, what in (
        (images, masks, "images/ has no mask in masks/ for"),
        (masks, images, "masks/ has no image in images/ for"),
    ):
        alone = [have[stem].name for stem in have if stem not in lack]
        if alone:
            raise DataError(
                f"{what} {_some(alone)} ({len(alone)} of {len(have)}). An image and "
                "its mask have the same name up to the ending."
            )
    instances: dict[str, Tree] = {}
    if "instances" in inside:
        instances = _stems(inside["instances"], (".png",))
        alone = [images[stem].name for stem in images if stem not in instances]
        if alone:
            raise DataError(
                f"instances/ has no file for {_some(alone)} ({len(alone)} of "
                f"{len(images)}); number the objects of all images, or of none."
            )
    return {
        stem: _Files(images[stem], masks[stem], instances.get(stem)) for stem in images
    }


def _stems(folder: Tree, endings: tuple[str, ...]) -> dict[str, Tree]:
    """List a folder's files by stem, and refuse what does not belong there."""
    stems: dict[str, Tree] = {}
    for name, entry in listing(folder).items():
        stem, ending = os.path.splitext(name)  # noqa: PTH122
        label = f"{folder.name}/{name}"
        if entry.is_dir():
            raise DataError(
                f"{label} is a folder; put all files into {folder.name}/ itself. For "
                "train, val and test write index.csv with the columns name and split."
            )
        if ending.lower() not in endings:
            raise DataError(
                f"{label} is not {' or '.join(endings)}. "
                + (
                    "A mask is a PNG of 8-bit labels (JPEG would blur them, floats "
                    "are no labels): Image.fromarray(labels.astype('uint8'))"
                    f".save('{stem}.png')."
                    if endings == (".png",)
                    else "Convert it, for example with Image.open(path).save("
                    f"'{stem}.png'), or move it elsewhere."
                )
            )
        if stem in stems:
            raise DataError(
                f"{folder.name}/ has both {stems[stem].name} and {name}; names must "
                "differ before the ending."
            )
        stems[stem] = entry
    return stems


@dataclass(frozen=True)
class _Card:
    """What dataset.json says."""

    texts: dict[str, str]
    classes: tuple[str, ...] | None
    ignore_index: int | None


def _read_card(root: Tree) -> _Card:
    inside = listing(root)
    if "dataset.json" not in inside:
        return _Card({}, None, None)
    data = read_bytes(inside["dataset.json"], "dataset.json")
    try:
        card = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise DataError("dataset.json is not UTF-8 text; save it as UTF-8.") from None
    # Beside what is no JSON: a number or brackets thousands of characters long.
    except (ValueError, RecursionError) as error:
        raise DataError(f"dataset.json is not valid JSON: {error}.") from None
    if not isinstance(card, dict):
        raise DataError(
            f"dataset.json holds a {type(card).__name__}; it must be an object, such "
            'as {"classes": ["background", "cell"]}.'
        )
    for key in TEXTS:
        if not isinstance(card.get(key, ""), str):
            raise DataError(f"{key} in dataset.json is {card[key]!r}; it must be text.")
    classes = card.get("classes")
    if classes is not None and not (
        isinstance(classes, list)
        and classes
        and all(isinstance(name, str) and name for name in classes)
        and len(set(classes)) == len(classes)
        and len(classes) <= 256
    ):
        raise DataError(
            f"classes in dataset.json is {classes!r}; it must be a list of up to 256 "
            'different names, in the order of their labels: ["background", "cell"].'
        )
    ignore = card.get("ignore_index")
    if ignore is not None and (
        isinstance(ignore, bool)
        or not isinstance(ignore, int)
        or not len(classes or ()) <= ignore <= 255
    ):
        raise DataError(
            f"ignore_index in dataset.json is {ignore!r}; it must be null or a label "
            f"up to 255 that is no class, such as {DEFAULT_IGNORE}."
        )
    texts = {key: card[key] for key in TEXTS if card.get(key)}
    return _Card(texts, None if classes is None else tuple(classes), ignore)


def _read_index(
    root: Tree, names: tuple[str, ...]
) -> tuple[dict[str, str] | None, dict[str, dict[str, Any]]]:
    """Read index.csv: the split of each image, and any other column.

    Returns
    -------
    splits : dict from name to split, or None
        None when the table has no column of splits.
    columns : dict from column to dict from name to value
        Whole numbers are int and other numbers float when all values of a column
        are written the way Python writes them; "007" stays text.
    """
    inside = listing(root)
    if "index.csv" not in inside:
        return None, {}
    try:
        text = read_bytes(inside["index.csv"], "index.csv").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError("index.csv is not UTF-8 text; save it as CSV UTF-8.") from None
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        rows = [(lines.line_num, row) for row in lines if row]
    except csv.Error as error:
        raise DataError(
            f"line {lines.line_num} of index.csv is not valid CSV: {error}."
        ) from None
    head = [cell.strip() for cell in rows[0][1]] if rows else []
    if "name" not in head:
        hint = ""
        if len(head) == 1 and (";" in head[0] or "\t" in head[0]):
            hint = " It is separated by semicolons or tabs; save it with commas."
        raise DataError(
            f"index.csv has no column 'name'; its columns: {_some(head)}.{hint}"
        )
    if len(set(head)) < len(head) or "" in head:
        raise DataError(
            f"index.csv has a column without a name or two of one name: {_some(head)}."
        )
    table: dict[str, dict[str, str]] = {}
    for line, row in rows[1:]:
        if len(row) != len(head):
            raise DataError(
                f"line {line} of index.csv has {len(row)} values for {len(head)} "
                f"columns: {_some(row)}. Quote a value that holds a comma."
            )
        entry = dict(zip(head, (cell.strip() for cell in row), strict=True))
        name = entry.pop("name")
        if name in table:
            raise DataError(
                f"line {line} of index.csv names {name!r} a second time; each image "
                "has one row."
            )
        if entry.get("split", "train") not in SPLIT_NAMES:
            near = get_close_matches(entry["split"], SPLIT_NAMES, 1, 0.3)
            hint = f" Did you mean {near[0]!r}?" if near and entry["split"] else ""
            raise DataError(
                f"line {line} of index.csv ({name!r}) has the split "
                f"{entry['split']!r}; it must be train, val or test.{hint} Without the "
                "column the split is made at random."
            )
        table[name] = entry
    unknown = [name for name in table if name not in names]
    if unknown:
        hint = ""
        if PurePath(unknown[0]).stem in names:
            hint = " Write names without the ending."
        raise DataError(
            f"index.csv names {_some(unknown)}, but images/ has no such file.{hint}"
        )
    unlisted = [name for name in names if name not in table]
    if unlisted:
        raise DataError(
            f"index.csv has no row for {_some(unlisted)} ({len(unlisted)} of "
            f"{len(names)} images); list all images, or take these away."
        )
    columns = {
        column: dict(
            zip(table, _numbers([row[column] for row in table.values()]), strict=True)
        )
        for column in head
        if column not in ("name", "split")
    }
    if "split" not in head:
        return None, columns
    return {name: row["split"] for name, row in table.items()}, columns


def _numbers(texts: list[str]) -> list[Any]:
    """Turn a column into numbers when that loses nothing."""
    for kind in (int, float):
        try:
            values = [kind(text) for text in texts]
        except ValueError:
            continue
        if [str(value) for value in values] == texts:
            return values
    return texts


# --- which images ------------------------------------------------------------


def _complete_splits(
    splits: dict[str, str] | None, names: tuple[str, ...], seed: int, said: list[str]
) -> dict[str, list[str]]:
    """Give the names of each split; make the splits that are not there."""
    if len(names) < 3:
        raise DataError(
            f"images/ has {_some(names)} alone; train, val and test each need an image."
        )
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    _, *held_out = split_sizes(len(names))
    if splits is None:
        n_val, n_test = held_out
        parts = {
            "train": shuffled[n_val + n_test :],
            "val": shuffled[:n_val],
            "test": shuffled[n_val : n_val + n_test],
        }
        said.append(
            f"Split at random (seed {seed}) into "
            f"{', '.join(f'{len(parts[split])} {split}' for split in SPLIT_NAMES)}: if "
            "several images show one scene, patient or slide, give index.csv a split "
            "column that keeps them together."
        )
    else:
        parts = {
            split: [name for name in shuffled if splits[name] == split]
            for split in SPLIT_NAMES
        }
        for split, wanted in zip(SPLIT_NAMES[1:], held_out, strict=True):
            if parts[split]:
                continue
            if len(parts["train"]) <= wanted:
                raise DataError(
                    f"index.csv has {len(parts['train'])} train images and none for "
                    f"{split}; it must have images for train, val and test."
                )
            parts[split] = parts["train"][:wanted]
            parts["train"] = parts["train"][wanted:]
            said.append(
                f"index.csv has no {split} images: {wanted} of train were taken at "
                f"random (seed {seed})."
            )
        if not parts["train"]:
            raise DataError(
                "index.csv has no train images; it must have images for train, val "
                "and test."
            )
    return {split: sorted(parts[split]) for split in SPLIT_NAMES}


def _choose(
    names: dict[str, list[str]], count: int | None, seed: int
) -> dict[str, list[str]]:
    """Choose `count` images, in the proportions of the splits, at least one each."""
    if count is None:
        return names
    split_sizes(count)  # a whole number of at least 3
    total = sum(len(part) for part in names.values())
    if count > total:
        raise DataError(f"count is {count}; there are {total} images.")
    # One image each, then one after the other to the split that lacks most.
    due = {split: count * len(part) / total for split, part in names.items()}
    sizes = dict.fromkeys(names, 1)
    for _ in range(count - len(sizes)):
        sizes[max(due, key=lambda split: due[split] - sizes[split])] += 1
    chosen = {}
    for number, (split, part) in enumerate(names.items()):
        order = np.random.default_rng([seed, number]).permutation(len(part))
        chosen[split] = [part[i] for i in sorted(order[: sizes[split]])]
    return chosen


# --- what is in the files ----------------------------------------------------


def _read_samples(
    files: dict[str, _Files], names: list[str], size: Size | None
) -> dict[str, _Sample]:
    """Read images with their masks, several at a time."""
    first, *_ = _gather(lambda name: _read_sample(files[name], size), names[:1])
    _check_memory(len(names), first.mask.size, first.image.ndim == 3)
    rest = _gather(lambda name: _read_sample(files[name], size), names[1:])
    # One image in color makes three channels of all.
    color = any(sample.image.ndim == 3 for sample in rest)
    _check_memory(len(names), first.mask.size, color)
    return dict(zip(names, [first, *rest], strict=True))


def _check_memory(count: int, pixels: int, color: bool) -> None:
    """Refuse what would not fit, as float32, into the memory that may be used."""
    memory = count * pixels * (3 if color else 1) * np.dtype(np.float32).itemsize
    if memory > MAX_MEMORY:
        raise DataError(
            f"{count} {'RGB' if color else 'gray'} images of the first one's size "
            f"would take {memory / 2**30:.1f} GiB of memory; at most "
            f"{MAX_MEMORY / 2**30:.0f} are read. Pass stream=True to leave them on "
            "disk, size= for smaller images or count= for fewer."
        )


def _examine(
    files: dict[str, _Files], names: list[str], size: Size | None
) -> dict[str, _Facts]:
    """Read images with their masks, keep what must be known, and let them go."""

    def read(name: str) -> _Facts:
        return _read_sample(files[name], size).facts

    found = _gather(read, names, "looking through the images")
    return dict(zip(names, found, strict=True))


class _Summed:
    """A file that keeps the checksum of what was read of it."""

    def __init__(self, file: Tree) -> None:
        self.file, self.checksum = file, 0

    def read_bytes(self) -> bytes:
        data = self.file.read_bytes()
        self.checksum = zlib.crc32(data)
        return data


def _read_sample(files: _Files, size: Size | None) -> _Sample:
    summed = {"images": _Summed(files.image), "masks": _Summed(files.mask)}
    image, original, turned = read_upright(
        summed["images"], _label("images", files.image), size
    )
    mask = read_mask(summed["masks"], _label("masks", files.mask))
    _check_same(files, original, "masks", files.mask, mask.shape)
    labels = _labels(mask)
    instances = None
    if files.instances is not None:
        label = _label("instances", files.instances)
        summed["instances"] = _Summed(files.instances)
        instances = read_instances(summed["instances"], label)
        _check_same(files, original, "instances", files.instances, instances.shape)
    if size is not None and size != original:
        mask = resize_masks(mask[None], size)[0].astype(np.uint8)
        if instances is not None:
            instances = resize_masks(instances[None], size)[0].astype(np.int32)
    pixels = np.bincount(mask.ravel(), minlength=256)[labels]
    checksums = {folder: file.checksum for folder, file in summed.items()}
    facts = _Facts(image.shape, original, labels, pixels, turned, checksums)
    return _Sample(image, mask, instances, facts)


def _read_labels(
    files: dict[str, _Files], names: list[str]
) -> dict[str, NDArray[np.int64]]:
    """Read the labels that occur in masks."""

    def read(name: str) -> NDArray[np.int64]:
        mask = files[name].mask
        return _labels(read_mask(mask, _label("masks", mask)))

    found = _gather(read, names)
    return dict(zip(names, found, strict=True))


def _gather(read: Callable[[str], T], names: list[str], doing: str = "") -> list[T]:
    """Read in threads (decoders run beside each other), and report all failures.

    With the words for what is `doing`, progress is shown if it takes long.
    """

    def attempt(name: str) -> T | DataError:
        try:
            return read(name)
        except DataError as error:
            return error

    with (
        ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool,
        ExitStack() as stack,
    ):
        results: list[T | DataError] = []
        display, started = None, time.perf_counter()
        for result in pool.map(attempt, names):
            results.append(result)
            if doing and display is None and time.perf_counter() - started > 2:
                display = stack.enter_context(show())
            if display is not None:
                done = len(results)
                display.update(done / len(names), f"{doing}: {done} of {len(names)}")
    errors = {
        name: result
        for name, result in zip(names, results, strict=True)
        if isinstance(result, DataError)
    }
    if errors:
        first, *others = errors
        more = f"\nAlso not usable: {_some(others)}." if others else ""
        raise DataError(f"{errors[first]}{more}")
    return [result for result in results if not isinstance(result, DataError)]


def _labels(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.flatnonzero(np.bincount(mask.ravel(), minlength=256))


def _label(folder: str, file: Tree) -> str:
    """Name a file the way a user sees it: images/a.png."""
    return f"{folder}/{file.name}"


def _check_same(
    files: _Files, size: Size, folder: str, other: Tree, shape: tuple[int, ...]
) -> None:
    if size == shape:
        return
    hint = ""
    if size == shape[::-1]:
        hint = (
            " One lies on its side: a camera's mark in the image (EXIF) may turn it "
            "upright, while the mask was drawn without."
        )
    raise DataError(
        f"{_label('images', files.image)} is {size[0]} × {size[1]} and "
        f"{_label(folder, other)} is {shape[0]} × {shape[1]} (height × width); they "
        f"must match pixel for pixel.{hint}"
    )


def _check_sizes(sizes: dict[str, Size], size: Size | None) -> None:
    """Refuse images of several sizes unless they are resized to one."""
    counts = Counter(sizes.values())
    if size is not None or len(counts) == 1:
        return
    listed = _some([f"{n} of {h} × {w}" for (h, w), n in counts.most_common()], 4)
    # A U-Net wants sides that can be halved, by default four times.
    height, width = (max(16, n // 16 * 16) for n in counts.most_common(1)[0][0])
    raise DataError(
        f"the images have several sizes (height × width): {listed}. Pass size= to make "
        f"them one, for example size=({height}, {width}), on the command line --size "
        f"{height}x{width}; the aspect ratio is not kept."
    )


def _check_labels(
    labels: dict[str, NDArray[np.int64]], card: _Card, said: list[str]
) -> tuple[tuple[str, ...], int | None]:
    """Hold labels against the classes, or number the classes by the labels."""
    union = sorted(set(np.concatenate(list(labels.values())).tolist()))
    if card.classes is None:
        found = _infer_classes(union, card.ignore_index, said)
        if found[1] == DEFAULT_IGNORE and card.ignore_index is None:
            _warn_of_white(labels, said)
        return found
    known = {*range(len(card.classes)), card.ignore_index}
    for name, values in labels.items():
        unknown = [value for value in values.tolist() if value not in known]
        if not unknown:
            continue
        hint = (
            "For what is not annotated give dataset.json an ignore_index; a missing "
            "class goes to the end of its classes."
        )
        if len(card.classes) == 2 and 1 not in union and len(union) == 2:
            hint = _binary_hint(union[-1])
        others = sum(bool(set(more.tolist()) - known) for more in labels.values()) - 1
        raise DataError(
            f"masks/{name}.png has the labels {_some(unknown)}"
            + (f" (and {others} other masks, too)" if others else "")
            + f"; the classes are 0 to {len(card.classes) - 1} "
            f"({', '.join(card.classes)})"
            + (f", {card.ignore_index} is ignored" if card.ignore_index else "")
            + f". {hint}"
        )
    return card.classes, card.ignore_index


def _warn_of_white(labels: dict[str, NDArray[np.int64]], said: list[str]) -> None:
    """Say which masks are black and white, among others that are not."""
    both = [0, DEFAULT_IGNORE]
    white = [name for name, values in labels.items() if values.tolist() == both]
    if white:
        said.append(
            f"{len(white)} of {len(labels)} masks, such as {white[0]}, hold 0 and "
            f"{DEFAULT_IGNORE} alone: if {DEFAULT_IGNORE} is an object there, it is "
            "ignored; convert it."
        )


def _infer_classes(
    union: list[int], ignore: int | None, said: list[str]
) -> tuple[tuple[str, ...], int | None]:
    """Take the labels that occur for classes, when they look like labels."""
    if set(union) <= {0, DEFAULT_IGNORE} and ignore is None and len(union) == 2:
        raise DataError(
            f"the masks hold 0 and {union[-1]} alone. {_binary_hint(union[-1])}"
        )
    if ignore is None and DEFAULT_IGNORE in union:
        ignore = DEFAULT_IGNORE
    classes = [label for label in union if label != ignore]
    if not classes or classes == [0]:
        raise DataError(
            "all masks hold one label alone"
            + (f" besides {ignore}" if ignore in union else "")
            + ": there is nothing to segment. If that is meant, name the classes in "
            'dataset.json: {"classes": ["background", "cell"]}.'
        )
    if classes[-1] >= MAX_INFERRED_CLASSES:
        if len(union) > MAX_INFERRED_CLASSES:
            raise DataError(
                f"the masks hold {len(union)} different values, like a gray picture: "
                "they were blurred, resized with interpolation or stored as JPEG. Go "
                "back to the originals; if there are two classes and none are left: "
                f"{_binary_recipe(127)}"
            )
        raise DataError(
            f"the masks hold the values {_some(union, 16)}; classes are numbered 0, 1, "
            "2, ... Convert each mask: Image.fromarray(np.searchsorted("
            f"{union}, np.asarray(Image.open(path))).astype('uint8')).save(path). If "
            "the values are class numbers, name all classes in dataset.json."
        )
    said.append(
        "dataset.json names no classes: they are numbered by the labels in the masks"
        + (f", and {ignore} is ignored." if ignore in union else ".")
    )
    return tuple(f"class {label}" for label in range(classes[-1] + 1)), ignore


def _binary_hint(value: int) -> str:
    return (
        f"For two classes a mask holds 0 and 1, not {value}. Convert each mask: "
        f"{_binary_recipe(value // 2)} If {value} stands for pixels that are not "
        f'annotated, give dataset.json the classes and "ignore_index": {value}.'
    )


def _binary_recipe(threshold: int) -> str:
    return (
        f"Image.fromarray((np.asarray(Image.open(path)) > {threshold})"
        ".astype('uint8')).save(path)."
    )


def _stack(samples: list[_Sample], channels: int) -> dict[str, Any]:
    """Put the samples of a split into arrays."""
    height, width = samples[0].mask.shape
    images = np.empty((len(samples), height, width, channels), np.float32)
    for target, sample in zip(images, samples, strict=True):
        _scale(sample.image, target)
    instances = [s.instances for s in samples if s.instances is not None]
    return {
        "images": images,
        "masks": np.stack([sample.mask for sample in samples]).astype(np.int32),
        "instances": np.stack(instances) if instances else None,
    }


def _scale(image: NDArray[Any], target: NDArray[np.float32]) -> None:
    """Write an image, (H, W) or (H, W, 3), as floats to `target`, (H, W, C)."""
    target[...] = image if image.ndim == 3 else image[..., None]  # gray spreads over C
    if image.dtype == np.uint8:
        target /= 255


@dataclass(frozen=True, eq=False)
class _Reader:
    """Read images, masks and instances of a split by their number."""

    files: list[_Files]
    facts: list[_Facts]
    channels: int
    size: Size | None
    keep: object  # what closes the zip when nobody reads any more

    def arrays(self, num_classes: int) -> dict[str, Any]:
        """Give arrays that read when they are indexed."""
        height, width = self.facts[0].shape[:2]
        length, plane = len(self.files), (height, width)
        images = StreamedArray(
            self.image, length, (*plane, self.channels), np.dtype(np.float32)
        )
        masks = StreamedArray(self.mask, length, plane, np.dtype(np.int32))
        pixels = np.zeros(256, np.int64)  # of each label
        for facts in self.facts:
            pixels[facts.labels] += facts.pixels
        masks.class_pixels = pixels[:num_classes]
        instances = None
        if self.files[0].instances is not None:
            instances = StreamedArray(self.instances, length, plane, np.dtype(np.int32))
        return {"images": images, "masks": masks, "instances": instances}

    def image(self, i: int) -> NDArray[np.float32]:
        """Read an image, (H, W, C)."""
        file = self.files[i].image
        summed = _Summed(file)
        pixels, *_ = read_image(summed, _label("images", file), self.size)
        self._check(i, "images", summed)
        image = np.empty((*pixels.shape[:2], self.channels), np.float32)
        _scale(pixels, image)
        return image

    def mask(self, i: int) -> NDArray[np.int32]:
        """Read a mask, (H, W)."""
        file = self.files[i].mask
        summed = _Summed(file)
        mask = read_mask(summed, _label("masks", file))
        self._check(i, "masks", summed)
        return self._resize(mask)

    def instances(self, i: int) -> NDArray[np.int32]:
        """Read the numbers of objects, (H, W)."""
        file = self.files[i].instances
        assert file is not None  # for all images or none: see _pair
        summed = _Summed(file)
        numbers = read_instances(summed, _label("instances", file))
        self._check(i, "instances", summed)
        return self._resize(numbers)

    def _resize(self, labels: NDArray[Any]) -> NDArray[np.int32]:
        if self.size is not None and self.size != labels.shape:
            labels = resize_masks(labels[None], self.size)[0]
        return labels.astype(np.int32, copy=False)

    def _check(self, i: int, folder: str, summed: _Summed) -> None:
        if summed.checksum != self.facts[i].checksums[folder]:
            raise DataError(
                f"{_label(folder, summed.file)} is not what it was when the data set "
                "was loaded: its bytes have changed. Load it again."
            )


# --- writing -----------------------------------------------------------------


def _layout(dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    """Give the files of a data set, each as its name and bytes."""
    splits = dataset.splits()
    channels = dataset.image_shape[-1]
    if channels not in (1, 3):
        raise DataError(
            f"the images have {channels} channels; gray (1) and RGB (3) can be saved."
        )
    ignore = dataset.ignore_index
    if ignore is not None and not 0 <= ignore <= 255:
        ignore = DEFAULT_IGNORE  # a byte holds no -1
    if dataset.num_classes > (256 if ignore is None else ignore):
        raise DataError(
            f"{dataset.num_classes} classes and an ignore label do not fit into 8 bits."
        )
    names = _file_names(splits)
    columns = {column: None for split in splits.values() for column in split.columns}
    if {"name", "split"} & columns.keys():
        raise DataError("a column cannot be called 'name' or 'split'; rename it.")

    card = {key: text for key in TEXTS if (text := getattr(dataset, key))}
    card |= {"classes": list(dataset.classes), "ignore_index": ignore}
    yield (
        "dataset.json",
        (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode(),
    )

    table = io.StringIO(newline="")
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["name", "split", *columns])
    for split_name, split in splits.items():
        for i, name in enumerate(names[split_name]):
            values = [
                split.columns[column][i] if column in split.columns else ""
                for column in columns
            ]
            rows.writerow([name, split_name, *values])
    yield "index.csv", table.getvalue().encode()

    for split_name, split in splits.items():
        for i, name in enumerate(names[split_name]):
            pixels = np.rint(split.images[i] * 255).astype(np.uint8)
            yield (
                f"images/{name}.png",
                _png(pixels[..., 0] if channels == 1 else pixels),
            )
            mask = split.masks[i]
            if ignore is not None and ignore != dataset.ignore_index:
                mask = np.where(mask == dataset.ignore_index, ignore, mask)
            yield f"masks/{name}.png", _png(mask.astype(np.uint8))
            if split.instances is not None:
                numbers = split.instances[i]
                if numbers.max() > 65535:
                    raise DataError(f"{name} has more than 65535 instances.")
                yield f"instances/{name}.png", _png(numbers.astype(np.uint16))


def _file_names(splits: dict[str, Split]) -> dict[str, list[str]]:
    """Keep the images' names where they can name files, else number all images."""
    names = [name for split in splits.values() for name in split.names]
    total = sum(len(split) for split in splits.values())
    usable = all(
        name == PurePath(name).name.strip()
        and not name.startswith(".")
        and not set(name) & set('\\/:*?"<>|\n')
        for name in names
    )
    # Some systems' file names do not tell a from A.
    distinct = len({name.lower() for name in names}) == total
    if not (usable and distinct and len(names) == total):
        names = [f"{i:04d}" for i in range(total)]
    rest = iter(names)
    return {
        split_name: [next(rest) for _ in range(len(split))]
        for split_name, split in splits.items()
    }


def _png(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _write_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files:
            # Fixed date and rights: the same data set gives the same bytes.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _some(items: Iterable[object], limit: int = 5) -> str:
    """Spell the first few items: 'a, b, c and 7 more'."""
    items = list(items)
    listed = ", ".join(str(item) for item in items[:limit]) or "nothing"
    more = len(items) - limit
    return f"{listed} and {more} more" if more > 0 else listed

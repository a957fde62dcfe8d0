"""Labeled images: a Split is a stack of them, a Dataset is three splits.

Everything in the course that reads, makes, trains on or draws data agrees on the
conventions that `Split` checks when it is made: images are float32 in [0, 1],
masks are int32 class numbers, and one label may be set aside as "ignore".
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seglab.data.stream import StreamedArray, parts

DEFAULT_IGNORE = 255
"""Label for ignored pixels where a data set has none yet (PASCAL VOC's choice)."""


class DataError(ValueError):
    """Data that break a convention; the message says which, where, and the fix."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images with their masks: one of the three parts of a `Dataset`.

    The conventions are checked once, here, so that no code after this point
    meets a mask of 0 and 255 or an image of bytes.

    Parameters
    ----------
    images : ndarray of float32, shape (N, H, W, C)
        Pixel values in [0, 1]; C is 1 for gray and 3 for RGB. Other float types
        are converted; integers are refused, because their scale is a guess.
    masks : ndarray of int32, shape (N, H, W)
        The class number of each pixel, 0 to ``len(classes) - 1``, or
        `ignore_index`. Other integer types are converted.
    classes : tuple of str
        Name of each class, in the order of their numbers.
    ignore_index : int, optional
        A label that stands for "not annotated": no class, left out of losses
        and metrics.
    instances : ndarray of int32, shape (N, H, W), optional
        The number of the object that each pixel belongs to, from 1; 0 for none.
    names : tuple of str, optional
        One name per image, such as its file's stem.
    columns : dict of str to ndarray of shape (N,), optional
        Anything else known of each image, one value per image.

    Notes
    -----
    The three arrays may stay on disk, as ``load(path, stream=True)`` leaves them: see
    `seglab.data.stream.StreamedArray`. Their values were checked when they were loaded.

    Raises
    ------
    DataError
        When an array breaks these conventions. The message says how to fix it.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((2, 4, 4, 1), np.float32)
    >>> masks = np.zeros((2, 4, 4), np.int32)
    >>> masks[:, 1:3, 1:3] = 1
    >>> split = Split(images, masks, classes=("background", "square"))
    >>> split
    Split(2 images of 4 × 4 × 1, 2 classes)
    >>> split.class_shares().tolist()
    [0.75, 0.25]
    """

    images: NDArray[np.float32]
    masks: NDArray[np.int32]
    classes: tuple[str, ...]
    ignore_index: int | None = None
    instances: NDArray[np.int32] | None = None
    names: tuple[str, ...] = ()
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A frozen dataclass is written to once, here, with what was checked.
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("classes", _check_classes(self.classes))
        put("ignore_index", _check_ignore(self.ignore_index, len(self.classes)))
        put("images", _check_images(self.images))
        shape = self.images.shape[:3]
        put("masks", _check_labels(self.masks, "masks", shape))
        _check_mask_values(self.masks, self.classes, self.ignore_index)
        if self.instances is not None:
            put("instances", _check_labels(self.instances, "instances", shape))
            _check_instance_values(self.instances)
        put("names", tuple(self.names))
        if self.names and len(self.names) != len(self):
            raise DataError(
                f"names has {len(self.names)} entries for {len(self)} images; "
                "give one name per image, or none."
            )
        columns = {key: np.asarray(value) for key, value in self.columns.items()}
        for key, value in columns.items():
            if value.shape != (len(self),):
                raise DataError(
                    f"column {key!r} has shape {value.shape}; with {len(self)} images "
                    f"it must have shape ({len(self)},): one value per image."
                )
        put("columns", columns)

    def __len__(self) -> int:
        """Count the images, N."""
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """Number of classes; the ignore label is not one."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (H, W, C) of every image."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def __getitem__(self, index: slice | ArrayLike) -> Split:
        """Select images by a slice, an array of indices, or a boolean mask.

        Examples
        --------
        >>> import numpy as np
        >>> split = Split(
        ...     np.zeros((5, 4, 4, 1), np.float32),
        ...     np.zeros((5, 4, 4), np.int32),
        ...     classes=("background", "cell"),
        ...     names=("a", "b", "c", "d", "e"),
        ... )
        >>> split[:2].names
        ('a', 'b')
        >>> split[[4, 0]].names
        ('e', 'a')
        """
        where = index if isinstance(index, slice) else _check_index(index, len(self))
        order = np.arange(len(self))[where]
        return replace(
            self,
            images=_take(self.images, where),
            masks=_take(self.masks, where),
            instances=None if self.instances is None else _take(self.instances, where),
            names=tuple(self.names[i] for i in order) if self.names else (),
            columns={key: value[where] for key, value in self.columns.items()},
        )

    def class_shares(self) -> NDArray[np.float64]:
        """Share of the annotated pixels that each class covers.

        The first thing to look at in a new data set: a class with a share of
        0.01 is one that a network may leave out at little cost.

        Returns
        -------
        ndarray of float64, shape (num_classes,)
            Sums to 1; ignored pixels are left out. NaN where no pixel counts.

        Examples
        --------
        >>> import numpy as np
        >>> masks = np.array([[[0, 0], [1, 255]]], np.int32)
        >>> split = Split(
        ...     np.zeros((1, 2, 2, 1), np.float32),
        ...     masks,
        ...     classes=("background", "road"),
        ...     ignore_index=255,
        ... )
        >>> split.class_shares().round(2).tolist()
        [0.67, 0.33]
        """
        counts = self._count_pixels()
        if not counts.any():
            return np.full(self.num_classes, np.nan)
        shares: NDArray[np.float64] = counts / counts.sum()
        return shares

    def _count_pixels(self) -> NDArray[np.int64]:
        """Count the pixels of each class, (num_classes,)."""
        masks: Any = self.masks
        streamed = isinstance(masks, StreamedArray)
        if streamed and masks.class_pixels is not None:
            counts: NDArray[np.int64] = masks.class_pixels
            return counts
        counts = np.zeros(self.num_classes, np.int64)
        for part in parts(masks):
            labels = part.ravel()
            if self.ignore_index is not None:
                labels = labels[labels != self.ignore_index]
            counts += np.bincount(labels, minlength=self.num_classes)
        if streamed:  # reading all masks again would take as long again
            masks.class_pixels = counts
        return counts

    def __repr__(self) -> str:
        size = " × ".join(str(n) for n in self.image_shape)
        return f"Split({len(self)} images of {size}, {self.num_classes} classes)"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Three splits of labeled images, and where they come from.

    Parameters
    ----------
    name : str
        Short name, such as ``"cells"``.
    train, val, test : Split
        Images to learn from, to choose settings on, and to report on. All three
        have the same classes, ignore label and image shape.
    title, licence, source, attribution, notes : str, optional
        What the images show, the terms they may be used on, where they were
        made or published, whom to name, and anything a user must know.

    Raises
    ------
    DataError
        When the splits disagree on classes, ignore label or image shape.

    Examples
    --------
    >>> import numpy as np
    >>> part = Split(
    ...     np.zeros((4, 8, 8, 1), np.float32),
    ...     np.eye(8, dtype=np.int32)[None].repeat(4, axis=0),
    ...     classes=("background", "line"),
    ... )
    >>> Dataset("lines", train=part, val=part[:1], test=part[1:2])
    lines: 6 images of 8 × 8 × 1, 2 classes
                  train    val   test
    images            4      1      1
    background   87.5 % 87.5 % 87.5 %
    line         12.5 % 12.5 % 12.5 %
    """

    name: str
    train: Split
    val: Split
    test: Split
    title: str = ""
    licence: str = ""
    source: str = ""
    attribution: str = ""
    notes: str = ""

    def __post_init__(self) -> None:
        for split_name, split in self.splits().items():
            if not isinstance(split, Split):
                raise DataError(
                    f"{split_name} is a {type(split).__name__}; it must be a Split: "
                    "Split(images, masks, classes=(...))."
                )
            for what in ("classes", "ignore_index", "image_shape"):
                want, got = getattr(self.train, what), getattr(split, what)
                if got != want:
                    raise DataError(
                        f"{split_name} has {what} {got!r} and train has {want!r}; "
                        "the three splits must agree."
                    )

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, in the order of their numbers."""
        return self.train.classes

    @property
    def ignore_index(self) -> int | None:
        """The label of pixels that are not annotated, or None."""
        return self.train.ignore_index

    @property
    def num_classes(self) -> int:
        """Number of classes; the ignore label is not one."""
        return self.train.num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (H, W, C) of every image."""
        return self.train.image_shape

    def splits(self) -> dict[str, Split]:
        """Give the splits by name, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def where(self, **columns: object) -> Dataset:
        """Keep the images whose columns have the given values.

        Parameters
        ----------
        **columns : value or collection of values
            A column's name and the value to keep, or a list of values. Several
            columns must all agree.

        Returns
        -------
        Dataset
            The same splits with fewer images.

        Raises
        ------
        DataError
            When a column or a value is not known, or a split loses all its images.

        Examples
        --------
        >>> import numpy as np
        >>> part = Split(
        ...     np.zeros((3, 2, 2, 1), np.float32),
        ...     np.zeros((3, 2, 2), np.int32),
        ...     classes=("background", "cell"),
        ...     columns={"stain": np.array(["DAPI", "DAPI", "H&E"])},
        ... )
        >>> data = Dataset("slides", train=part, val=part, test=part)
        >>> len(data.where(stain="DAPI").train)
        2
        """
        wanted = {column: _as_collection(value) for column, value in columns.items()}
        for column, values in wanted.items():
            self._check_column(column, values)

        def select(split: Split) -> Split:
            keep = np.ones(len(split), dtype=bool)  # (N,)
            for column, values in wanted.items():
                keep &= [entry in values for entry in split.columns[column].tolist()]
            return split[keep]

        kept = self._map_splits(select)
        for split_name, split in self.splits().items():
            if len(split) and not len(kept.splits()[split_name]):
                raise DataError(
                    f"no image of the {split_name} split has {_spell(columns)}. To use "
                    "the other splits, select in one: for example "
                    "data.train[data.train.columns[...] == ...]."
                )
        return kept

    def _map_splits(self, fn: Callable[[Split], Split]) -> Dataset:
        return replace(self, train=fn(self.train), val=fn(self.val), test=fn(self.test))

    def _check_column(self, column: str, wanted: list[object]) -> None:
        """Refuse a column, or a value of it, that no split has."""
        known = set.intersection(*(set(s.columns) for s in self.splits().values()))
        if column not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise DataError(
                f"{self.name} has no column {column!r}; its columns: {listed}."
            )
        values = {
            value
            for split in self.splits().values()
            for value in split.columns[column].tolist()
        }
        for value in wanted:
            if value not in values:
                listed = ", ".join(repr(v) for v in sorted(values, key=str)[:12])
                more = ", ..." if len(values) > 12 else ""
                raise DataError(
                    f"column {column!r} of {self.name} has no value {value!r}; "
                    f"it has {listed}{more}."
                )

    def merge_classes(self, into: Mapping[str, str | None]) -> Dataset:
        """Merge classes into others, and number the rest anew.

        A three-class problem becomes a binary one; a class that annotators did
        not agree on is ignored.

        Parameters
        ----------
        into : mapping of str to str or None
            From each class to give up to the class that takes its pixels; None
            makes them ignored (label `ignore_index`, or 255 where there is none).

        Returns
        -------
        Dataset
            With the remaining classes in their old order. Instances are kept.

        Raises
        ------
        DataError
            When a class is not known, or is merged into one that is given up.

        Examples
        --------
        >>> import numpy as np
        >>> part = Split(
        ...     np.zeros((1, 1, 3, 1), np.float32),
        ...     np.array([[[0, 1, 2]]], np.int32),
        ...     classes=("background", "nucleus", "boundary"),
        ... )
        >>> data = Dataset("nuclei", train=part, val=part, test=part)
        >>> binary = data.merge_classes({"boundary": "nucleus"})
        >>> binary.classes, binary.train.masks.tolist()
        (('background', 'nucleus'), [[[0, 1, 1]]])
        """
        for old, new in into.items():
            for name in (old, new):
                if name is not None and name not in self.classes:
                    raise DataError(
                        f"{self.name} has no class {name!r}; its classes: "
                        f"{', '.join(self.classes)}."
                    )
            if new in into:
                raise DataError(
                    f"class {old!r} cannot be merged into {new!r}, which is itself "
                    "given up; name the class that remains."
                )
        remaining = tuple(name for name in self.classes if name not in into)
        if not remaining:
            raise DataError("every class would be ignored; keep at least one.")
        ignore = self.ignore_index
        if ignore is None and None in into.values():
            ignore = DEFAULT_IGNORE

        # One table from old label to new one, used on all pixels at once.
        table = np.zeros(self.num_classes, np.int32)  # (old classes,)
        for number, name in enumerate(self.classes):
            target = into.get(name, name)
            if target is not None:
                table[number] = remaining.index(target)
        dropped = [i for i, n in enumerate(self.classes) if into.get(n, n) is None]

        def new_labels(masks: NDArray[np.int32]) -> NDArray[np.int32]:
            new = table[np.clip(masks, 0, self.num_classes - 1)]  # as masks
            if ignore is not None:
                new[np.isin(masks, [*dropped, ignore])] = ignore
            return new

        def relabel(split: Split) -> Split:
            return replace(
                split,
                masks=_each(new_labels, split.masks),
                classes=remaining,
                ignore_index=ignore,
            )

        return self._map_splits(relabel)

    def map_images(
        self, fn: Callable[[NDArray[np.float32]], NDArray[np.floating[Any]]]
    ) -> Dataset:
        """Pass the images of each split through a function; masks stay.

        Parameters
        ----------
        fn : callable
            Takes the images of a split, (N, H, W, C) float32 in [0, 1], and
            returns as many of the same height and width; C may change. Of images that
            stay on disk it gets one at a time, whenever that one is read: it must
            treat each image by itself.

        Returns
        -------
        Dataset
            With the new images.

        Raises
        ------
        DataError
            When the result is not float, not of that shape, or not in [0, 1].

        Examples
        --------
        >>> import numpy as np
        >>> part = Split(
        ...     np.full((1, 2, 2, 1), 0.25, np.float32),
        ...     np.zeros((1, 2, 2), np.int32),
        ...     classes=("background", "cell"),
        ... )
        >>> data = Dataset("slides", train=part, val=part, test=part)
        >>> data.map_images(lambda images: 1 - images).train.images.max().item()
        0.75
        """

        def apply_one(image: NDArray[np.float32]) -> NDArray[np.float32]:
            new = _check_images(fn(image[None]))
            if new.shape[:3] != (1, *image.shape[:2]):
                raise DataError(
                    f"the function made {new.shape} of images {image[None].shape}; it "
                    "must keep their number, height and width."
                )
            one: NDArray[np.float32] = new[0]
            return one

        def apply(split: Split) -> Split:
            images: Any = split.images
            if not isinstance(images, StreamedArray):
                return replace(split, images=fn(images))
            shape = apply_one(images[0]).shape if len(split) else split.image_shape
            return replace(split, images=cast(Any, images.map(apply_one, shape)))

        return self._map_splits(apply)

    def _table(self) -> list[list[str]]:
        """Rows of the summary: a head, image counts, the share of each class."""
        splits = self.splits().values()
        rows = [["", *self.splits()], ["images", *(str(len(s)) for s in splits)]]
        shares = [split.class_shares() for split in splits]
        for number, name in enumerate(self.classes):
            rows.append([name, *(_percent(share[number]) for share in shares)])
        if self.ignore_index is not None:
            ignored = [
                1 - s._count_pixels().sum() / s.masks.size if len(s) else np.nan
                for s in splits
            ]
            rows.append(["(ignored)", *(_percent(share) for share in ignored)])
        return rows

    def _headline(self) -> str:
        count = sum(len(split) for split in self.splits().values())
        size = " × ".join(str(n) for n in self.image_shape)
        return f"{self.name}: {count} images of {size}, {self.num_classes} classes"

    def __repr__(self) -> str:
        rows = self._table()
        first = max(len(row[0]) for row in rows)
        lines = [
            row[0].ljust(first) + " " + "".join(cell.rjust(7) for cell in row[1:])
            for row in rows
        ]
        return "\n".join([self._headline(), *lines])

    def _repr_html_(self) -> str:
        head, *body = self._table()
        cells = "".join(f'<th scope="col">{name}</th>' for name in head[1:])
        rows = "".join(
            f'<tr><th scope="row">{html.escape(row[0])}</th>'
            + "".join(f"<td>{cell}</td>" for cell in row[1:])
            + "</tr>"
            for row in body
        )
        return (
            f"<table><caption>{html.escape(self._headline())}</caption>"
            f"<thead><tr><td></td>{cells}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _check_classes(classes: Iterable[str]) -> tuple[str, ...]:
    # A lone string is iterable too: ("background") lacks its comma.
    names = () if isinstance(classes, str) else tuple(classes)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise DataError(
            f"classes is {classes!r}; give a tuple of names, such as "
            '("background", "cell").'
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"classes names {', '.join(twice)} more than once.")
    return names


def _check_ignore(ignore_index: int | None, num_classes: int) -> int | None:
    if ignore_index is None:
        return None
    if isinstance(ignore_index, bool) or not isinstance(
        ignore_index, (int, np.integer)
    ):
        raise DataError(f"ignore_index is {ignore_index!r}; it must be an int or None.")
    if 0 <= ignore_index < num_classes:
        raise DataError(
            f"ignore_index {ignore_index} is also the number of a class; use a label "
            f"outside 0 to {num_classes - 1}, such as {DEFAULT_IGNORE}."
        )
    return int(ignore_index)


def _take(array: Any, where: slice | NDArray[Any]) -> Any:
    """Select entries of an array; what is on disk stays there."""
    return array.take(where) if isinstance(array, StreamedArray) else array[where]


def _each(function: Callable[[Any], Any], array: Any) -> Any:
    """Apply a function of labels; to what is on disk when it is read."""
    if isinstance(array, StreamedArray):
        return array.map(function)
    return function(array)


def _check_images(images: Any) -> NDArray[np.float32]:
    if isinstance(images, StreamedArray):
        # Checked when it was loaded.
        return cast("NDArray[np.float32]", images)
    images = np.asarray(images)
    if images.ndim != 4:
        hint = " For gray images add an axis: images[..., None]."
        raise DataError(
            f"images has shape {images.shape}; it must be (N, H, W, C)."
            + (hint if images.ndim == 3 else "")
        )
    if 0 in images.shape[1:]:
        raise DataError(f"images has shape {images.shape}: no pixels.")
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(
            f"images has dtype {images.dtype}; it must be float in [0, 1]. For bytes: "
            "images.astype('float32') / 255."
        )
    if images.size and not np.isfinite(images).all():
        raise DataError(
            "images has values that are not finite (NaN or inf); replace or drop them."
        )
    low, high = images.min(initial=0), images.max(initial=1)
    if low < 0 or high > 1:
        raise DataError(
            f"images has values from {images.min():.4g} to {images.max():.4g}; they "
            "must lie in [0, 1]. Scale them, for example by the largest possible value."
        )
    checked: NDArray[np.float32] = images.astype(np.float32, copy=False)
    return checked


def _check_labels(labels: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.int32]:
    streamed = isinstance(labels, StreamedArray)
    labels = labels if streamed else np.asarray(labels)
    if labels.shape != shape:
        hint = (
            " Take the last axis off: masks[..., 0]."
            if labels.shape == (*shape, 1)
            else ""
        )
        raise DataError(
            f"{name} has shape {labels.shape}; with these images it must be "
            f"(N, H, W) = {shape}.{hint}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{name} has dtype {labels.dtype}; it must hold integer labels. If the "
            "values are whole, use astype('int32'); fractions mean that a mask was "
            "resized with interpolation: use nearest neighbor."
        )
    if streamed:
        return cast("NDArray[np.int32]", labels)  # checked when it was loaded
    if labels.size and (
        labels.min() < np.iinfo(np.int32).min or labels.max() > np.iinfo(np.int32).max
    ):
        raise DataError(f"{name} has labels that do not fit into int32.")
    checked: NDArray[np.int32] = labels.astype(np.int32, copy=False)
    return checked


def _check_mask_values(
    masks: Any, classes: tuple[str, ...], ignore_index: int | None
) -> None:
    if isinstance(masks, StreamedArray):
        return  # checked when it was loaded
    unknown = (masks < 0) | (masks >= len(classes))  # (N, H, W)
    if ignore_index is not None:
        unknown &= masks != ignore_index
    if not unknown.any():
        return
    values = np.unique(masks[unknown])
    listed = ", ".join(str(v) for v in values[:8]) + (
        ", ..." if len(values) > 8 else ""
    )
    hint = ""
    if ignore_index is None and values.tolist() == [255]:
        hint = (
            " If 255 means foreground: (masks == 255).astype('int32'). If it means "
            "not annotated: ignore_index=255."
        )
    raise DataError(
        f"masks has labels {listed}, which are no class: the classes are 0 to "
        f"{len(classes) - 1} ({', '.join(classes)}).{hint}"
    )


def _check_instance_values(instances: Any) -> None:
    if not isinstance(instances, StreamedArray) and instances.min(initial=0) < 0:
        raise DataError(
            f"instances has the number {instances.min()}; objects are numbered from 1, "
            "and 0 means no object."
        )


def _check_index(index: ArrayLike, length: int) -> NDArray[Any]:
    where = np.asarray(index)
    if where.ndim != 1:
        raise TypeError(
            "a Split is indexed by a slice, an array of indices or a boolean mask; "
            f"this index has shape {where.shape}. For one image: split.images[i], or "
            "split[i:i+1] for a Split of one."
        )
    if where.dtype == bool:
        if len(where) != length:
            raise IndexError(f"a boolean mask of {len(where)} for {length} images.")
        return where
    if where.size == 0:  # [] is an array of floats to NumPy
        return where.astype(np.intp)
    if not np.issubdtype(where.dtype, np.integer):
        raise TypeError(f"an index must be integer or bool, not {where.dtype}.")
    return where


def _as_collection(value: object) -> list[object]:
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return list(value)
    return [value]


def _spell(columns: Mapping[str, object]) -> str:
    return " and ".join(f"{key} = {value!r}" for key, value in columns.items())


def _percent(share: float) -> str:
    """Spell a share with one decimal: 0.125 is '12.5 %', NaN is '–'."""
    return "–" if np.isnan(share) else f"{100 * share:.1f} %"

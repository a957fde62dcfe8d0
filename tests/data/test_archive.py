"""An unsafe zip is refused before anything in it is read."""

import stat
import struct
import zipfile

import pytest

from seglab.data import DataError
from seglab.data import _archive as archive
from seglab.data._archive import listing, open_tree


def zipped(tmp_path, files, **options):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in files:
            file.writestr(name, data)
    return path


def refused(path, match):
    with pytest.raises(DataError, match=match), open_tree(path):
        raise AssertionError("opened")


@pytest.mark.parametrize(
    "name",
    [
        "../outside.png",
        "images/../../outside.png",
        "/etc/outside.png",
        "C:/outside.png",
        "images\\..\\outside.png",
    ],
)
def test_names_that_lead_out(tmp_path, name):
    refused(zipped(tmp_path, [("images/a.png", b"x"), (name, b"x")]), "leads out")


def test_links(tmp_path):
    link = zipfile.ZipInfo("images/a.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(zipped(tmp_path, [(link, b"/etc/passwd")]), "holds the link 'images/a.png'")


def test_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILES", 3)
    files = [(f"images/{i}.png", b"x") for i in range(4)]
    refused(zipped(tmp_path, files), "holds 4 files; at most 3")


def test_a_bomb(tmp_path):
    # Deflate packs zeros about 1000 to 1.
    path = zipped(
        tmp_path, [("images/a.png", bytes(10**6))], compression=zipfile.ZIP_DEFLATED
    )
    refused(path, "200 times the packed size")


def test_one_huge_file(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 1000)
    refused(zipped(tmp_path, [("images/a.png", bytes(1001))]), "would unpack to")


def test_huge_in_total(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 3000)
    files = [(f"images/{i}.png", bytes(1001)) for i in range(3)]
    refused(zipped(tmp_path, files), "would unpack from")


def test_a_lie_about_the_size(tmp_path):
    """A file that claims to be small is read up to its claim, and then refused."""
    path = zipped(
        tmp_path, [("images/a.png", bytes(10**5))], compression=zipfile.ZIP_DEFLATED
    )
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")  # the archive's directory
    struct.pack_into("<I", data, entry + 24, 10)  # "10 bytes unpacked"
    path.write_bytes(data)
    with open_tree(path) as root, pytest.raises(zipfile.BadZipFile):
        (root / "images" / "a.png").read_bytes()


def test_encryption(tmp_path):
    path = zipped(tmp_path, [("images/a.png", b"x")])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, "encrypted")


def test_a_name_that_occurs_twice(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = zipped(tmp_path, [("images/a.png", b"x"), ("images/a.png", b"y")])
    refused(path, "'images/a.png' more than once")


def test_what_is_no_zip(tmp_path):
    path = tmp_path / "data.zip"
    path.write_bytes(b"not a zip")
    refused(path, "neither a folder nor a zip")
    whole = zipped(tmp_path, [("images/a.png", bytes(1000))]).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "interrupted download")


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (6, 99),  # "a zip of version 9.9 is needed to read this": NotImplementedError
        (46, 0xFF),  # first byte of the name, which is no UTF-8: UnicodeDecodeError
    ],
)
def test_a_zip_with_a_damaged_directory(tmp_path, offset, value):
    path = zipped(tmp_path, [("ä.png", b"x")])  # the name is marked as UTF-8
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + offset] = value
    path.write_bytes(data)
    refused(path, "or the zip is damaged")


def test_an_empty_zip_is_opened(tmp_path):
    with open_tree(zipped(tmp_path, [])) as root:
        assert listing(root) == {}


@pytest.mark.parametrize("prefix", ["", "mine/"])
def test_a_single_folder_around_everything_is_skipped(tmp_path, prefix):
    files = [(prefix + "images/a.png", b"x"), ("__MACOSX/._a", b"x")]
    with open_tree(zipped(tmp_path, files)) as root:
        assert list(listing(root)) == ["images"]
    for name, data in files:
        (tmp_path / "folder" / name).parent.mkdir(parents=True)
        (tmp_path / "folder" / name).write_bytes(data)
    with open_tree(tmp_path / "folder") as root:
        assert list(listing(root)) == ["images"]


def test_two_folders_are_not_guessed_between(tmp_path):
    path = zipped(tmp_path, [("one/images/a.png", b"x"), ("two/images/a.png", b"x")])
    with open_tree(path) as root:
        assert list(listing(root)) == ["one", "two"]

"""Names lead to data, and a name that does not says what would."""

import hashlib
import os
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import seglab.data
from seglab.data import DataError, MissingDataError, cards, find, load, names, registry
from seglab.data.registry import card, places

ARCHIVES = [known for known in cards() if known.kind == "archive"]
MADE = [known for known in cards() if known.kind != "archive"]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without any archive."""
    monkeypatch.delenv("SEGLAB_DATA", raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setattr(registry, "user_cache_path", lambda *_, **__: cache)
    return tmp_path


@pytest.fixture
def small(nowhere):
    """A tiny data set, for the place of an archive."""

    def make(place, name):
        for kind in ("images", "masks"):
            (place / name / kind).mkdir(parents=True)
            for stem in "abcd":
                array = np.eye(8, dtype=np.uint8)
                Image.fromarray(array).save(place / name / kind / f"{stem}.png")
        return place / name

    return make


def zipped(folder):
    data = seglab.data.load(folder)
    path = seglab.data.save(data, folder.with_suffix(".zip"))
    for file in folder.rglob("*.png"):
        file.unlink()
    for sub in (*folder.iterdir(), folder):
        sub.rmdir()
    return path


def test_names_are_those_of_the_cards():
    assert names() == tuple(known.name for known in cards())
    assert len(set(names())) == len(names())


@pytest.mark.parametrize("known", MADE, ids=lambda known: known.name)
def test_cards_agree_with_what_is_made(known):
    data = load(known.name, count=6)
    assert (data.name, data.title) == (known.name, known.title)
    assert (data.licence, data.source) == (known.licence, known.source)
    assert data.classes == known.classes
    assert sum(map(len, data.splits().values())) == 6
    assert data.image_shape == (64, 64, 1)


@pytest.mark.parametrize("known", MADE, ids=lambda known: known.name)
def test_made_sets_take_seed_count_and_size(known, nowhere):
    one = load(known.name, seed=1, count=4, size=48)
    two = load(known.name, seed=2, count=4, size=48)
    assert one.image_shape == (48, 48, 1)
    assert not np.array_equal(one.train.images, two.train.images)
    again = load(known.name, seed=1, count=4, size=48)
    np.testing.assert_array_equal(one.train.images, again.train.images)


def test_options_reach_the_simulator():
    easy, hard = (load("cells", count=3, difficulty=d) for d in (0, 1))
    assert not np.array_equal(easy.train.images, hard.train.images)


@pytest.mark.parametrize(
    ("name", "near"), [("nucleus", "nuclei"), ("Cells", "cells"), ("digit", "digits")]
)
def test_an_unknown_name_suggests_the_nearest(name, near):
    for function in (load, find, card):
        with pytest.raises(DataError, match=f"Did you mean '{near}'"):
            function(name)


@pytest.mark.parametrize("name", ["imagenet", "", "zzz"])
def test_an_unknown_name_lists_all(name):
    with pytest.raises(DataError, match="cells, digits, coins, nuclei, pets, aerial"):
        load(name)


@pytest.mark.parametrize("name", [known.name for known in ARCHIVES])
def test_a_set_that_is_not_there_says_how_to_get_it(nowhere, monkeypatch, name):
    with pytest.raises(MissingDataError) as error:
        load(name)
    said = str(error.value)
    known = card(name)
    for part in (known.title, known.licence, known.source, known.sha256):
        assert part in said
    assert str(nowhere / "cache" / f"{name}.zip") in said
    assert "SEGLAB_DATA is not set" in said
    assert isinstance(error.value, FileNotFoundError)
    assert isinstance(error.value, DataError)
    assert find(name) is None

    monkeypatch.setenv("SEGLAB_DATA", str(nowhere / "gone"))
    with pytest.raises(MissingDataError, match="which is not a folder") as error:
        load(name)
    assert str(nowhere / "gone" / f"{name}.zip") in str(error.value)


def test_the_folder_of_the_user_comes_before_the_cache(small, nowhere, monkeypatch):
    monkeypatch.setenv("SEGLAB_DATA", str(nowhere / "mine"))
    assert places() == (nowhere / "mine", nowhere / "cache")
    cached = small(nowhere / "cache", "pets")
    assert find("pets") == cached
    mine = small(nowhere / "mine", "pets")
    assert find("pets") == mine
    packed = zipped(mine)
    assert find("pets") == packed
    assert find("cells") is None


def test_home_is_expanded(nowhere, monkeypatch):
    monkeypatch.setenv("SEGLAB_DATA", "~/data")
    assert places()[0] == Path.home() / "data"
    monkeypatch.setenv("SEGLAB_DATA", " ")
    assert places() == (nowhere / "cache",)


def test_another_archive_is_warned_of(small, nowhere, monkeypatch):
    path = zipped(small(nowhere / "cache", "road"))
    with pytest.warns(UserWarning, match="may differ from the book's"):
        data = load("road", count=3)
    assert data.classes == ("class 0", "class 1")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    changed = tuple(
        replace(known, sha256=right) if known.name == "road" else known
        for known in cards()
    )
    monkeypatch.setattr(registry, "_CARDS", changed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("road")


def test_an_unpacked_set_is_found(small, nowhere):
    small(nowhere / "cache", "aerial")
    assert sum(map(len, load("aerial").splits().values())) == 4


@pytest.mark.parametrize("how", ["path", "string", "relative", "plain name", "zip"])
def test_your_own_data_by_path(small, nowhere, monkeypatch, how):
    folder = small(nowhere, "mine")
    monkeypatch.chdir(nowhere)
    if how == "zip":
        zipped(folder)
    path = {
        "path": folder,
        "string": str(folder),
        "relative": f".{os.sep}mine",
        "plain name": "mine",
        "zip": "mine.zip",
    }[how]
    assert load(path, size=4).image_shape == (4, 4, 1)
    assert sum(map(len, load(path, count=3).splits().values())) == 3


def test_a_name_wins_over_a_folder(small, nowhere, monkeypatch):
    small(nowhere, "cells")
    monkeypatch.chdir(nowhere)
    assert load("cells", count=3).classes == ("background", "cell")
    assert load("./cells").classes == ("class 0", "class 1")


@pytest.mark.parametrize("path", ["./gone", "gone.zip", Path("gone")])
def test_a_path_with_nothing_there(path):
    with pytest.raises(MissingDataError, match="no folder or zip at"):
        load(path)


def test_options_that_a_set_does_not_have(small, nowhere):
    with pytest.raises(TypeError, match=r"it takes count, .*Did you mean 'difficulty'"):
        load("cells", dificulty=0.3)
    with pytest.raises(
        TypeError, match="'nuclei' takes seed, count, size and stream, not"
    ):
        load("nuclei", difficulty=0.3)
    with pytest.raises(TypeError, match=r"on disk .* takes seed, count, size and"):
        load(small(nowhere, "mine"), difficulty=0.3)


def test_importing_needs_no_backend_and_no_simulator():
    code = (
        "import sys, seglab.data; seglab.data.cards(); seglab.data.names();"
        "print([m for m in ('keras', 'tensorflow', 'sklearn', 'skimage', 'matplotlib')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# --- the prepared archives themselves ----------------------------------------


@pytest.fixture(params=ARCHIVES, ids=lambda known: known.name)
def archive(request):
    if find(request.param.name) is None:
        pytest.skip(f"{request.param.name}: no archive found; set SEGLAB_DATA")
    return request.param


@pytest.mark.data
def test_prepared_archives_are_as_their_cards_say(archive):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the sum is the book's
        data = load(archive.name)
    assert data.name == archive.name and data.classes == archive.classes
    total = sum(map(len, data.splits().values()))
    height, width, channels = data.image_shape
    kind = {1: "gray", 3: "RGB"}[channels]
    assert archive.images == f"{total} of {height} × {width}, {kind}"
    assert min(map(len, data.splits().values())) > 50
    assert len(set().union(*(split.names for split in data.splits().values()))) == total
    # Compared with Pillow, one image and mask at a time.
    path = find(archive.name)
    if path.is_file():
        with zipfile.ZipFile(path) as file:
            for i, name in list(enumerate(data.test.names))[::25]:
                with file.open(f"images/{name}.webp") as handle:
                    image = np.asarray(Image.open(handle).convert("RGB")) / 255
                with file.open(f"masks/{name}.png") as handle:
                    mask = np.asarray(Image.open(handle))
                # Float32 against float64.
                assert np.abs(data.test.images[i] - image[..., -channels:]).max() < 1e-6
                np.testing.assert_array_equal(data.test.masks[i], mask)


@pytest.mark.data
def test_nuclei_are_used_as_the_course_uses_them():
    if find("nuclei") is None:
        pytest.skip("nuclei: no archive found; set SEGLAB_DATA")
    data = (
        load("nuclei", size=64)
        .where(modality="fluorescence")
        .merge_classes({"boundary": "nucleus"})
        .map_images(seglab.data.stretch_contrast)
    )
    assert sum(map(len, data.splits().values())) == 541
    assert data.classes == ("background", "nucleus")
    assert data.train.images.max() == 1 and data.train.images.min() == 0
    for split in data.splits().values():
        # Nuclei are bright in fluorescence, and objects are where nuclei are.
        nucleus = split.masks == 1
        assert split.images[..., 0][nucleus].mean() > 0.3
        assert split.images[..., 0][~nucleus].mean() < 0.2
        np.testing.assert_array_equal(split.instances > 0, nucleus)

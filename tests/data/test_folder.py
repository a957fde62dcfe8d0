"""Folders and zips are read alike, and every user's mistake is named."""

import csv
import json
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seglab.data import (
    DataError,
    Dataset,
    MissingDataError,
    Split,
    load,
    resize_images,
    resize_masks,
    save,
)
from seglab.data.folder import _choose, read_folder

NAMES = tuple("abcdefghij")


def arrays(n=10, height=12, width=9, channels=1, labels=3, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n, height, width, 3)[: 3 + (channels == 3)]
    images = rng.integers(0, 256, shape).astype(np.uint8)
    masks = rng.integers(0, labels, (n, height, width)).astype(np.uint8)
    return images, masks


def write(root, images, masks, names=NAMES, card=None, index=None, instances=None):
    """Write the layout by hand, with Pillow alone."""
    for kind, stack in (("images", images), ("masks", masks), ("instances", instances)):
        if stack is None:
            continue
        (root / kind).mkdir(parents=True, exist_ok=True)
        for name, pixels in zip(names, stack, strict=False):
            Image.fromarray(pixels).save(root / kind / f"{name}.png")
    if card is not None:
        (root / "dataset.json").write_text(json.dumps(card))
    if index is not None:
        (root / "index.csv").write_text(index)
    return root


def pack(root, prefix=""):
    """Zip a folder with Python's own zipfile."""
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, prefix + str(file.relative_to(root)))
    return path


@pytest.fixture
def good(tmp_path):
    return write(tmp_path / "mine", *arrays(), card={"classes": ["a", "b", "c"]})


def refused(path, match, **options):
    """The same error from the folder and from its zip, about this mistake."""
    with pytest.raises(DataError, match=match) as error:
        read_folder(path, **options)
    with pytest.raises(DataError, match=match):
        read_folder(pack(path), **options)
    return str(error.value)


def by_name(data):
    """All images and masks of a data set by name, whatever the split."""
    return {
        name: (image, mask)
        for split in data.splits().values()
        for name, image, mask in zip(
            split.names, split.images, split.masks, strict=True
        )
    }


# --- reading -----------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("zipped", ["folder", "zip", "zip of a folder"])
def test_reads_what_was_written(tmp_path, channels, zipped):
    images, masks = arrays(channels=channels)
    instances = (masks.astype(np.uint16) * 300).astype(np.uint16)
    root = write(
        tmp_path / "mine",
        images,
        masks,
        card={
            "name": "leaves",
            "title": "Leaves",
            "classes": ["ground", "leaf", "stem"],
            "ignore_index": 255,
            "licence": "CC0",
            "source": "garden",
            "attribution": "me",
            "notes": "By hand.",
        },
        index="name,split,tree,height,code\n"
        + "".join(
            f"{name},{'train' if i < 6 else 'val' if i < 8 else 'test'},oak,{i},00{i}\n"
            for i, name in enumerate(NAMES)
        ),
        instances=instances,
    )
    path = {
        "folder": lambda: root,
        "zip": lambda: pack(root),
        "zip of a folder": lambda: pack(root, "mine/"),
    }[zipped]()
    data = read_folder(path)
    assert (data.name, data.title, data.licence) == ("leaves", "Leaves", "CC0")
    assert (data.source, data.attribution, data.notes) == ("garden", "me", "By hand.")
    assert data.classes == ("ground", "leaf", "stem") and data.ignore_index == 255
    assert data.train.names == NAMES[:6]
    assert data.val.names == NAMES[6:8] and data.test.names == NAMES[8:]
    assert data.train.columns["height"].tolist() == [0, 1, 2, 3, 4, 5]
    assert data.test.columns["code"].tolist() == ["008", "009"]
    assert data.image_shape == (12, 9, channels)
    expected = images[6:8].reshape(2, 12, 9, channels).astype(np.float32) / 255
    np.testing.assert_array_equal(data.val.images, expected)
    np.testing.assert_array_equal(data.val.masks, masks[6:8])
    np.testing.assert_array_equal(data.val.instances, instances[6:8])
    assert data.val.images.dtype == np.float32 and data.val.masks.dtype == np.int32


def test_two_folders_are_enough(tmp_path, caplog):
    root = write(tmp_path / "leaves", *arrays(20), names=[f"{i:02}" for i in range(20)])
    with caplog.at_level("INFO", "seglab.data"):
        data = read_folder(root)
    sizes = {name: len(split) for name, split in data.splits().items()}
    assert sizes == {"train": 14, "val": 3, "test": 3}
    assert len(by_name(data)) == 20  # each image in one split
    assert data.name == "leaves" and data.classes == ("class 0", "class 1", "class 2")
    for said in ("Split at random (seed 0) into 14 train, 3 val, 3 test", "numbered"):
        assert said in data.notes and said in caplog.text


def test_the_random_split_is_seeded_and_does_not_depend_on_count(good):
    one, same, other = (read_folder(good, seed=seed) for seed in (0, 0, 1))
    assert one.test.names == same.test.names
    assert {one.test.names, other.test.names} != {one.test.names}
    fewer = read_folder(good, count=5)
    for split, part in fewer.splits().items():
        assert set(part.names) <= set(one.splits()[split].names)


def test_missing_val_and_test_are_taken_from_train(good):
    (good / "index.csv").write_text(
        "name,split\n" + "".join(f"{n},train\n" for n in NAMES)
    )
    data = read_folder(good)
    assert [len(s) for s in data.splits().values()] == [6, 2, 2]
    (good / "index.csv").write_text(
        "name,split\n"
        + "".join(f"{n},{'test' if n < 'd' else 'train'}\n" for n in NAMES)
    )
    data = read_folder(good)
    assert data.test.names == ("a", "b", "c") and len(data.val) == 2
    assert "no val images: 2 of train were taken" in data.notes
    assert "no test images" not in data.notes


def test_classes_do_not_depend_on_count(tmp_path):
    images, masks = arrays(labels=2)
    masks[0, 0, 0] = 5
    root = write(tmp_path / "mine", images, masks)
    few = [read_folder(root, count=3, seed=seed) for seed in range(4)]
    assert any("a" not in by_name(data) for data in few)
    assert all(data.num_classes == 6 for data in few)


def test_255_beside_other_labels_is_ignored(tmp_path):
    images, masks = arrays(labels=2)
    masks[3, :2] = 255
    data = read_folder(write(tmp_path / "mine", images, masks))
    assert data.ignore_index == 255 and data.classes == ("class 0", "class 1")
    assert "255 is ignored" in data.notes


@given(
    st.lists(st.integers(1, 40), min_size=3, max_size=3),
    st.integers(3, 120),
    st.integers(0, 5),
)
def test_count_keeps_the_proportions(sizes, count, seed):
    names = {
        split: [f"{split}{i:03}" for i in range(n)]
        for split, n in zip(("train", "val", "test"), sizes, strict=True)
    }
    total = sum(sizes)
    if count > total:
        with pytest.raises(DataError, match=f"there are {total}"):
            _choose(names, count, seed)
        return
    chosen = _choose(names, count, seed)
    assert sum(map(len, chosen.values())) == count
    for split, part in chosen.items():
        due = count * len(names[split]) / total
        assert 1 <= len(part) <= max(1, due + 1)
        # One image at least for the others may cost a split up to two.
        assert len(part) > due - 3
        assert part == sorted(part) and set(part) <= set(names[split])


def test_with_splits_of_one_size_a_smaller_count_is_part_of_a_larger_one():
    names = {split: [f"{split}{i}" for i in range(40)] for split in "abc"}
    chosen = [
        {name for part in _choose(names, count, seed=0).values() for name in part}
        for count in (3, 9, 30, 60, 120)
    ]
    assert [len(part) for part in chosen] == [3, 9, 30, 60, 120]
    assert all(few <= more for few, more in pairwise(chosen))


@given(
    st.lists(st.integers(1, 40), min_size=3, max_size=3),
    st.lists(st.integers(3, 120), min_size=2, max_size=2),
    st.integers(0, 5),
)
def test_fewer_images_of_a_split_are_part_of_more(sizes, counts, seed):
    """Whatever the splits' sizes, which rounding may even make shrink."""
    names = {
        split: [f"{split}{i}" for i in range(n)]
        for split, n in zip("abc", sizes, strict=True)
    }
    one, other = (_choose(names, min(count, sum(sizes)), seed) for count in counts)
    for split in names:
        few, more = sorted((set(one[split]), set(other[split])), key=len)
        assert few <= more


def test_a_split_may_have_an_image_less_when_count_grows():
    """What the documentation of `count` owns up to."""
    names = {
        split: [f"{split}{i}" for i in range(n)]
        for split, n in zip("abc", (50, 7, 3), strict=True)
    }
    sizes = [
        [len(part) for part in _choose(names, count, seed=0).values()]
        for count in (29, 30)
    ]
    assert sizes == [[24, 3, 2], [25, 4, 1]]


@pytest.mark.parametrize("count", [2, 0, -1, 2.5, True, "all"])
def test_bad_counts_are_named(good, count):
    with pytest.raises(ValueError, match="count is"):
        read_folder(good, count=count)


def test_size_resizes_images_and_masks(tmp_path):
    images, masks = arrays(3, 40, 30, 3)
    instances = (np.arange(3 * 40 * 30) % 60_000).astype(np.uint16).reshape(3, 40, 30)
    root = write(tmp_path / "mine", images, masks, "abc", instances=instances)
    full, small = read_folder(root), read_folder(root, size=(16, 13))
    assert small.image_shape == (16, 13, 3)
    for split, part in small.splits().items():
        before = full.splits()[split]
        np.testing.assert_array_equal(part.masks, resize_masks(before.masks, (16, 13)))
        np.testing.assert_array_equal(
            part.instances, resize_masks(before.instances, (16, 13))
        )
        # Pillow resizes bytes here and floats there: rounding of two passes.
        np.testing.assert_allclose(
            part.images, resize_images(before.images, (16, 13)), atol=1.01 / 255
        )


def test_a_white_mask_among_class_numbers_is_pointed_at(tmp_path):
    """One of ten was exported as 0 and 255: its objects would be ignored in silence."""
    images, masks = arrays(labels=2)
    masks[2] = np.where(masks[2] > 0, 255, 0)
    data = read_folder(write(tmp_path / "mine", images, masks))
    assert "1 of 10 masks, such as c, hold 0 and 255 alone" in data.notes


def test_images_of_several_sizes_need_a_size(good):
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(good / "images/a.png")
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(good / "masks/a.png")
    said = refused(good, r"9 of 12 × 9, 1 of 20 × 30")
    assert "size=(16, 16), on the command line --size 16x16" in said
    assert read_folder(good, size=8).image_shape == (8, 8, 1)


def test_gray_among_color_becomes_rgb_and_is_said(tmp_path):
    images, masks = arrays(channels=3)
    root = write(tmp_path / "mine", images, masks)
    gray = images[0, ..., 0]
    Image.fromarray(gray).save(root / "images/a.png")
    data = read_folder(root)
    assert data.image_shape == (12, 9, 3)
    assert "1 of 10 images are gray" in data.notes
    for channel in range(3):
        np.testing.assert_array_equal(
            by_name(data)["a"][0][..., channel], np.float32(gray) / 255
        )


@pytest.mark.parametrize("orientation", [2, 3, 8])
@pytest.mark.parametrize("stream", [False, True])
def test_images_that_a_camera_s_mark_turns_are_counted(tmp_path, orientation, stream):
    """Of a square, or when it is upside down, no size tells that the mask is not."""
    images, masks = arrays(height=9)
    root = write(tmp_path / "mine", images, masks)
    assert "EXIF" not in read_folder(root, stream=stream).notes
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(images[2]).save(root / "images/c.png", exif=exif)
    data = read_folder(root, stream=stream)
    assert "1 of 10 images, such as c, were turned upright" in data.notes
    assert "a mask must be drawn on the upright picture" in data.notes
    image, mask = by_name(data)["c"]
    assert not np.array_equal(image[..., 0], np.float32(images[2]) / 255)
    np.testing.assert_array_equal(mask, masks[2])


def test_gray_stored_as_rgb_is_gray(tmp_path):
    images, masks = arrays()
    data = read_folder(
        write(tmp_path / "mine", np.repeat(images[..., None], 3, -1), masks)
    )
    assert data.image_shape == (12, 9, 1)


def test_files_that_systems_leave_are_not_seen(good):
    for junk in (".DS_Store", "images/.DS_Store", "masks/Thumbs.db", "images/._a.png"):
        (good / junk).write_bytes(b"junk")
    (good / "__MACOSX").mkdir()
    assert len(by_name(read_folder(good))) == 10
    assert len(by_name(read_folder(pack(good, "mine/")))) == 10


def test_excel_csv_and_quoted_values_are_read(good):
    (good / "index.csv").write_bytes(
        b"\xef\xbb\xbfname,note\r\n"
        + b"".join(b'%s,"x, ""y"""\r\n' % name.encode() for name in NAMES)
    )
    assert set(read_folder(good).train.columns["note"]) == {'x, "y"'}


def test_a_link_in_a_folder_is_the_users_own(good, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere/a.png"
    (good / "images/a.png").rename(moved)
    try:
        (good / "images/a.png").symlink_to(moved)
    except OSError:
        pytest.skip("this system does not let a user make links")
    assert len(by_name(read_folder(good))) == 10


# --- mistakes ----------------------------------------------------------------


def test_nothing_there(tmp_path):
    with pytest.raises(MissingDataError, match="no folder or zip") as error:
        read_folder(tmp_path / "nowhere")
    assert isinstance(error.value, FileNotFoundError)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_missing_folder(good, folder):
    (good / folder).rename(good / "labels")
    assert "labels" in refused(good, f"no folder {folder}/")


def test_no_images(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / "mine" / folder).mkdir(parents=True)
        (tmp_path / "mine" / folder / ".keep").touch()
    refused(tmp_path / "mine", "images/ .* is empty")


def test_too_few_images(tmp_path):
    refused(write(tmp_path / "mine", *arrays(2)), "a, b alone; train, val and test")


def test_image_without_mask_and_mask_without_image(good):
    for name in "abcdefg":
        (good / "masks" / f"{name}.png").unlink()
    said = refused(good, r"no mask in masks/ for a.png, b.png, c.png, d.png, e.png and")
    assert "2 more (7 of 10)" in said
    for name in "abcdefgj":
        (good / "images" / f"{name}.png").unlink()
    refused(good, r"no image in images/ for j.png \(1 of 3\)")


def test_instances_must_be_complete(good):
    (good / "instances").mkdir()
    Image.fromarray(np.zeros((12, 9), np.uint16)).save(good / "instances/a.png")
    refused(good, r"instances/ has no file for b.png, .*9 of 10")


def test_mask_of_another_size(good):
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(good / "masks/c.png")
    refused(good, r"images/c.png is 12 × 9 and masks/c.png is 6 × 9 \(height × width\)")
    Image.fromarray(np.zeros((9, 12), np.uint8)).save(good / "masks/c.png")
    refused(good, "lies on its side")
    # Also when a size is asked for: stretching one of them would misalign both.
    refused(good, "match pixel for pixel", size=8)


def test_instances_of_another_size(tmp_path):
    images, masks = arrays()
    bad = np.zeros((10, 5, 9), np.uint16)
    root = write(tmp_path / "mine", images, masks, instances=bad)
    refused(root, "instances/a.png is 5 × 9")


def test_labels_outside_the_classes(good):
    mask = np.zeros((12, 9), np.uint8)
    mask[0, :2] = (7, 9)
    Image.fromarray(mask).save(good / "masks/d.png")
    Image.fromarray(mask).save(good / "masks/e.png")
    said = refused(
        good, r"masks/[de].png has the labels 7, 9 \(and 1 other masks, too\)"
    )
    assert "the classes are 0 to 2 (a, b, c)" in said


@pytest.mark.parametrize("card", [None, {"classes": ["background", "leaf"]}])
def test_binary_mask_of_0_and_255(tmp_path, card):
    images, masks = arrays(labels=2)
    root = write(tmp_path / "mine", images, masks * 255, card=card)
    said = refused(root, r"holds 0 and 1, not 255")
    # The recipe in the message works when it is followed to the letter.
    recipe = said.split("Convert each mask: ")[1].split(".save(path).")[0]
    for path in (root / "masks").iterdir():
        eval(f"{recipe}.save(path)", {"Image": Image, "np": np, "path": path})
    data = by_name(read_folder(root))
    np.testing.assert_array_equal(data["a"][1], masks[0])


def test_spread_values_without_classes(tmp_path):
    images, masks = arrays(labels=3)
    root = write(tmp_path / "mine", images, masks * 100)
    said = refused(root, "values 0, 100, 200; classes are numbered")
    recipe = said.split("Convert each mask: ")[1].split(".save(path).")[0]
    for path in (root / "masks").iterdir():
        eval(f"{recipe}.save(path)", {"Image": Image, "np": np, "path": path})
    np.testing.assert_array_equal(by_name(read_folder(root))["a"][1], masks[0])


def test_masks_that_are_pictures(tmp_path):
    images, masks = arrays(labels=250)
    refused(write(tmp_path / "mine", images, masks), "different values, like a gray")


def test_masks_of_one_label(tmp_path):
    images, masks = arrays(labels=1)
    root = write(tmp_path / "mine", images, masks)
    refused(root, "one label alone: there is nothing to segment")
    (root / "dataset.json").write_text('{"classes": ["ground", "leaf"]}')
    assert read_folder(root).num_classes == 2


def test_two_files_of_one_name(good):
    Image.fromarray(np.zeros((12, 9), np.uint8)).save(good / "images/a.jpg")
    refused(good, "images/ has both a.jpg and a.png")


@pytest.mark.parametrize(
    ("file", "match"),
    [
        ("images/x.tif", "images/x.tif is not .png or .webp or .jpg"),
        ("images/readme.txt", "images/readme.txt is not"),
        ("masks/a.jpg", "masks/a.jpg is not .png. A mask is a PNG"),
        ("masks/x.npy", "floats are no labels"),
        ("images/train/a.png", r"images/train is a folder.*index.csv"),
    ],
)
def test_files_that_do_not_belong(good, file, match):
    (good / file).parent.mkdir(exist_ok=True)
    (good / file).write_bytes(b"x")
    refused(good, match)


def test_damaged_files_are_all_named(good):
    whole = (good / "images/b.png").read_bytes()
    (good / "images/b.png").write_bytes(whole[: len(whole) // 2])
    (good / "masks/c.png").write_bytes(b"")
    (good / "index.csv").write_text(rows())  # b and c are both of train, in this order
    said = refused(good, r"images/b\.png begins as a PNG and is damaged or cut off")
    assert said.split("Also not usable: ")[1] == "c."
    (good / "images/b.png").write_bytes(whole)
    assert "not usable" not in refused(good, r"masks/c\.png .* an empty file")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not valid JSON"),
        ("[1]", "holds a list; it must be an object"),
        ('{"classes": "cell"}', "classes in dataset.json"),
        ('{"classes": []}', "classes in dataset.json"),
        ('{"classes": ["a", "a"]}', "classes in dataset.json"),
        ('{"classes": [0, 1]}', "classes in dataset.json"),
        ('{"classes": ["a", "b", "c"], "ignore_index": 1}', "label up to 255"),
        ('{"classes": ["a", "b", "c"], "ignore_index": 256}', "label up to 255"),
        ('{"classes": ["a", "b", "c"], "ignore_index": "255"}', "label up to 255"),
        ('{"classes": ["a", "b", "c"], "ignore_index": true}', "label up to 255"),
        ('{"title": 3}', "title in dataset.json is 3; it must be text"),
        pytest.param("[" * 100_000, "dataset.json is not valid JSON", id="brackets"),
        pytest.param("1" * 5000, "dataset.json is not valid JSON", id="digits"),
    ],
)
def test_bad_dataset_json(good, text, match):
    (good / "dataset.json").write_text(text)
    refused(good, match)


def test_dataset_json_that_is_not_utf8(good):
    (good / "dataset.json").write_bytes(b'{"title": "\xff"}')
    refused(good, "dataset.json is not UTF-8")


@pytest.mark.parametrize("name", ["dataset.json", "index.csv", "masks/b.png"])
@pytest.mark.parametrize("what", ["bytes", "name", "compression"])
def test_a_zip_that_is_damaged_inside(good, name, what):
    (good / "index.csv").write_text(rows())
    path = pack(good)
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(name).header_offset
    data = bytearray(path.read_bytes())
    # The file's head is 30 bytes and its name; the directory repeats both.
    entry = data.rindex(name.encode()) - 46
    if what == "bytes":
        data[at + 30 + len(name) + 3] ^= 1
    elif what == "name":
        data[at + 30] ^= 1
    else:
        data[entry + 10] = 99
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"^{name} cannot be read"):
        read_folder(path)


def rows(**changed):
    """An index of all images, with some splits changed."""
    splits = dict.fromkeys(NAMES, "train") | {"i": "val", "j": "test"} | changed
    return "name,split\n" + "".join(f"{n},{s}\n" for n, s in splits.items())


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no column 'name'; its columns: nothing"),
        ("file,split\na,train\n", "no column 'name'; its columns: file, split"),
        ("name;split\na;train\n", "save it with commas"),
        ("name,name\na,a\n", "two of one name"),
        ("name,\na,1\n", "column without a name"),
        (rows() + "a,train\n", "line 12 of index.csv names 'a' a second time"),
        (rows(b="valid"), r"line 3 .*'b'.* split 'valid'.*Did you mean 'val'"),
        (rows(b=""), "has the split ''"),
        (rows(k="train"), "names k, but images/ has no such file"),
        (rows() + "a.png,train\n", "Write names without the ending"),
        (rows().replace("d,train\n", ""), r"no row for d \(1 of 10 images\)"),
        (rows() + "k,train,oak\n", "line 12 of index.csv has 3 values for 2 columns"),
        (rows(**dict.fromkeys(NAMES, "test")), "0 train images and none for val"),
        pytest.param(
            rows() + "k" * 200_000,
            "line 12 of index.csv is not valid CSV: field larger",
            id="a huge field",
        ),
    ],
)
def test_bad_index(good, text, match):
    (good / "index.csv").write_text(text)
    refused(good, match)


def test_an_index_without_train_images(good):
    halves = {n: "val" if n < "f" else "test" for n in NAMES}
    (good / "index.csv").write_text(rows(**halves))
    refused(good, "no train images")


def test_more_than_fits_into_memory(good, monkeypatch):
    monkeypatch.setattr("seglab.data.folder.MAX_MEMORY", 10 * 12 * 9 * 4 - 1)
    refused(good, "GiB of memory.*size=.*count=")
    assert len(by_name(read_folder(good, count=9))) == 9


def test_one_image_in_color_makes_all_larger(good, monkeypatch):
    """All gray fits to the byte; the first image, a, does not tell of the last, h."""
    (good / "index.csv").write_text(rows())
    monkeypatch.setattr("seglab.data.folder.MAX_MEMORY", 10 * 12 * 9 * 4)
    assert read_folder(good).image_shape == (12, 9, 1)
    images, _ = arrays(channels=3)
    Image.fromarray(images[0]).save(good / "images/h.png")
    refused(good, "10 RGB images .* GiB of memory")
    monkeypatch.setattr("seglab.data.folder.MAX_MEMORY", 10 * 12 * 9 * 4 * 3)
    assert read_folder(good).image_shape == (12, 9, 3)


@pytest.mark.parametrize("size", [0, (3,), "big", 2.5])
def test_bad_sizes_are_named(good, size):
    with pytest.raises(ValueError, match="size is"):
        read_folder(good, size=size)


def test_bad_seeds_are_named(good):
    with pytest.raises(ValueError, match="seed is"):
        read_folder(good, seed=-1)


# --- writing -----------------------------------------------------------------


def dataset(n=4, height=6, width=5, channels=1, ignore=None, names=True, **texts):
    rng = np.random.default_rng(0)

    def split(prefix, n):
        masks = rng.integers(0, 2, (n, height, width)).astype(np.int32)
        instances = masks * rng.integers(1, 60_000, masks.shape).astype(np.int32)
        if ignore is not None:
            masks[:, 0, 0] = ignore
        return Split(
            rng.random((n, height, width, channels), dtype=np.float32),
            masks,
            classes=("ground", "leaf"),
            ignore_index=ignore,
            instances=instances,
            names=tuple(f"{prefix}{i}" for i in range(n)) if names else (),
            columns={
                "site": np.array([f"{prefix}, {i}" for i in range(n)]),
                "age": np.arange(n) + 0.5,
                "rank": np.arange(n),
            },
        )

    parts = {"train": split("t", n), "val": split("v", 1), "test": split("u", 2)}
    return Dataset("leaves", **parts, **texts)


@settings(max_examples=12)
@given(
    st.sampled_from(["saved", "saved.zip"]),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([1, 3]),
    st.sampled_from([None, 255, 7, -1]),
)
def test_round_trip(tmp_path_factory, name, n, height, width, channels, ignore):
    data = dataset(n, height, width, channels, ignore, title="Blätter", notes="x")
    written = save(data, tmp_path_factory.mktemp("data") / name)
    assert written.name == name and written.exists()
    back = read_folder(written)
    for key in ("name", "title", "licence", "source", "attribution", "notes"):
        assert getattr(back, key) == getattr(data, key)
    assert back.classes == data.classes
    assert back.ignore_index == (255 if ignore == -1 else ignore)
    for split, part in back.splits().items():
        before = data.splits()[split]
        assert part.names == before.names
        # Rounding to a byte moves a value by half a step at most; float32 adds 1e-7.
        np.testing.assert_allclose(part.images, before.images, atol=0.5 / 255 + 1e-6)
        expected = before.masks
        if ignore == -1:
            expected = np.where(expected == -1, 255, expected)
        np.testing.assert_array_equal(part.masks, expected)
        np.testing.assert_array_equal(part.instances, before.instances)
        assert part.columns.keys() == before.columns.keys()
        for column, values in part.columns.items():
            np.testing.assert_array_equal(values, before.columns[column])
            assert values.dtype.kind == before.columns[column].dtype.kind


def test_saved_twice_is_read_unchanged(tmp_path):
    # After the first rounding nothing changes any more.
    once = read_folder(save(dataset(), tmp_path / "once.zip"))
    again = read_folder(save(once, tmp_path / "again.zip"))
    np.testing.assert_array_equal(once.train.images, again.train.images)
    assert (tmp_path / "once.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "once.zip") as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_the_layout_is_what_other_programs_read(tmp_path):
    data = dataset(ignore=255)
    root = save(data, tmp_path / "saved")
    image = Image.open(root / "images/t0.png")
    assert image.mode == "L" and image.size == (5, 6)
    mask = np.asarray(Image.open(root / "masks/t0.png"))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, data.train.masks[0])
    numbers = np.asarray(Image.open(root / "instances/t0.png")).astype(int)
    np.testing.assert_array_equal(numbers, data.train.instances[0])
    with (root / "index.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert first == {
        "name": "t0", "split": "train", "site": "t, 0", "age": "0.5", "rank": "0"
    }  # fmt: skip
    card = json.loads((root / "dataset.json").read_text())
    assert card["classes"] == ["ground", "leaf"] and card["ignore_index"] == 255


@pytest.mark.parametrize("name", ["saved", "saved.zip"])
def test_nothing_is_overwritten(tmp_path, name):
    save(dataset(), tmp_path / name)
    with pytest.raises(DataError, match="not overwritten"):
        save(dataset(), tmp_path / name)


def test_parent_folders_are_made(tmp_path):
    assert save(dataset(), tmp_path / "a/b/saved").is_dir()


@pytest.mark.parametrize("name", ["saved", "saved.zip"])
def test_a_save_that_fails_leaves_nothing(tmp_path, name):
    data = dataset()
    data.test.instances[0, 0, 0] = 70_000
    with pytest.raises(DataError, match="65535"):
        save(data, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names", [("a/b",), ("..",), (".x",), ("",), ("CON:",)])
def test_names_that_cannot_be_files_are_numbered(tmp_path, names):
    part = dataset(names=False).val
    part = Split(part.images, part.masks, classes=part.classes, names=names)
    data = Dataset("x", train=part, val=part, test=part)
    back = read_folder(save(data, tmp_path / "saved"))
    assert [s.names for s in back.splits().values()] == [
        ("0000",),
        ("0001",),
        ("0002",),
    ]
    assert not list(tmp_path.parent.glob("b.png"))


def test_names_that_occur_twice_are_numbered(tmp_path):
    part = dataset().val
    back = read_folder(
        save(Dataset("x", train=part, val=part, test=part), tmp_path / "saved")
    )
    assert back.test.names == ("0002",)


def test_what_does_not_fit_the_layout_is_refused(tmp_path):
    part = Split(
        np.zeros((1, 4, 4, 2), np.float32), np.zeros((1, 4, 4), int), classes=("a", "b")
    )
    with pytest.raises(DataError, match="2 channels"):
        save(Dataset("x", train=part, val=part, test=part), tmp_path / "saved")
    part = dataset().val
    part = Split(
        part.images, part.masks, part.classes, columns={"split": np.array(["x"])}
    )
    with pytest.raises(DataError, match="rename"):
        save(Dataset("x", train=part, val=part, test=part), tmp_path / "saved")
    many = tuple(f"c{i}" for i in range(256))
    part = Split(part.images, part.masks, classes=many, ignore_index=-1)
    with pytest.raises(DataError, match="256 classes"):
        save(Dataset("x", train=part, val=part, test=part), tmp_path / "saved")


def test_simulated_images_can_be_saved_and_read(tmp_path):
    data = load("cells", count=6, size=32)
    back = load(save(data, tmp_path / "cells.zip"))
    assert back.title == data.title and back.classes == data.classes
    np.testing.assert_array_equal(back.test.masks, data.test.masks)
    np.testing.assert_array_equal(back.test.instances, data.test.instances)


def test_paths_may_be_strings(good, monkeypatch):
    monkeypatch.chdir(good.parent)
    assert read_folder("mine").name == "mine"
    assert read_folder(str(Path("mine") / "")).name == "mine"

"""Each kind of image file becomes the array it stands for, or a clear error."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from seglab.data import DataError
from seglab.data import _decode as decode
from seglab.data._decode import read_image, read_instances, read_mask, read_upright

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
GRAY = RGB[..., 0]


@pytest.fixture
def saved(tmp_path):
    def save(image, name="x.png", **options):
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save


def pixels(path, size=None):
    return read_image(path, "images/x", size)[0]


def refused(read, path, match):
    with pytest.raises(DataError, match=match) as error:
        read(path, "masks/x.png")
    return str(error.value)


def gray_png(path, samples, bits):
    """Write a gray PNG of any depth by hand, as its specification has it."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    height, width = samples.shape
    lines = b""
    for row in samples.tolist():
        text = "".join(f"{sample:0{bits}b}" for sample in row)
        text += "0" * (-len(text) % 8)  # a line ends with a whole byte
        line = [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]
        lines += bytes([0, *line])  # filter 0: as they are
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )
    return path


# --- images ------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_lossless_images_are_read_exactly(saved, ending):
    path = saved(RGB, f"x.{ending}", lossless=True)
    np.testing.assert_array_equal(pixels(path), RGB)
    path = saved(GRAY, f"y.{ending}", lossless=True)
    np.testing.assert_array_equal(pixels(path), GRAY)


def test_jpeg_is_read_closely(saved):
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    path = saved(smooth, "x.jpg", quality=95)
    assert np.abs(pixels(path).astype(int) - smooth).max() <= 4


def test_sixteen_bits_become_floats(saved):
    wide = (np.arange(35) * 1800).astype(np.uint16).reshape(5, 7)
    array = pixels(saved(wide))
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, wide.astype(np.float32) / 65535)
    small = pixels(saved(wide), (2, 3))
    assert small.shape == (2, 3) and small.dtype == np.float32
    assert wide.min() / 65535 <= small.min() and small.max() <= wide.max() / 65535


def test_black_and_white(saved):
    bits = GRAY > 127
    np.testing.assert_array_equal(pixels(saved(bits)), bits * np.uint8(255))


def test_palette_images_show_their_colors(saved):
    image = Image.fromarray(GRAY % 3).convert("L")
    indexed = Image.fromarray(GRAY % 3, "L").convert("P")
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    colors = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    np.testing.assert_array_equal(pixels(saved(indexed)), colors[np.asarray(image)])


def test_cmyk_photographs_are_converted(saved):
    image = Image.fromarray(RGB).convert("CMYK")
    assert pixels(saved(image, "x.jpg")).shape == (5, 7, 3)


def test_opaque_alpha_is_dropped_and_transparent_refused(saved):
    rgba = np.dstack([RGB, np.full((5, 7), 255, np.uint8)])
    np.testing.assert_array_equal(pixels(saved(rgba)), RGB)
    la = np.dstack([GRAY, np.full((5, 7), 255, np.uint8)])
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(la, "LA"))), GRAY)
    rgba[0, 0, 3] = 254
    refused(read_image, saved(rgba), "transparent pixels")


def test_a_camera_s_turn_is_followed(saved):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn right to show"
    path = saved(RGB, "x.png", exif=exif)
    array, size = read_image(path, "images/x")
    np.testing.assert_array_equal(array, np.rot90(RGB, -1))
    assert size == (7, 5)


def test_whether_it_was_turned_is_told(saved):
    assert not read_upright(saved(RGB), "x")[2]
    exif = Image.Exif()
    for orientation in range(10):  # 1 is upright, 0 and 9 mean nothing
        exif[0x0112] = orientation
        array, _, turned = read_upright(saved(RGB, exif=exif), "x")
        assert turned is not np.array_equal(array, RGB)
        assert turned is (2 <= orientation <= 8)


def test_size_is_that_of_the_file(saved):
    array, size = read_image(saved(RGB), "images/x", (3, 4))
    assert array.shape == (3, 4, 3) and size == (5, 7)


def test_one_colored_pixel_makes_an_image_rgb(saved):
    gray = np.repeat(GRAY[..., None], 3, axis=-1)
    assert pixels(saved(gray)).ndim == 2
    for y, x in [(0, 0), (2, 3), (4, 6)]:
        color = gray.copy()
        color[y, x, 2] ^= 1
        np.testing.assert_array_equal(pixels(saved(color)), color)


def test_an_image_that_claims_too_many_pixels(saved, monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 34)
    refused(read_image, saved(RGB), "5 × 7 pixels; at most 34")


def test_a_file_that_is_too_large(saved, monkeypatch):
    monkeypatch.setattr(decode, "MAX_FILE_BYTES", 10)
    refused(read_image, saved(RGB), "at most 10 are read")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no PNG, WebP or JPEG image but an empty file"),
        (b"hello", "but something else"),
        (b"II*\x00rest", "but a TIFF"),
        (b"\x93NUMPYrest", "but a NumPy array"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x89PNG\r\n\x1a\nrest", "begins as a PNG and is damaged"),
    ],
)
def test_files_that_are_no_image(tmp_path, data, match):
    (tmp_path / "x.png").write_bytes(data)
    for read in (read_image, read_mask, read_instances):
        assert "masks/x.png" in refused(read, tmp_path / "x.png", match)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_images_that_are_cut_off(saved, ending):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = saved(noise, f"x.{ending}")
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(read_image, path, "damaged or cut off")


def test_a_png_with_a_flipped_bit(saved):
    path = saved(RGB)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 12] ^= 0xFF
    path.write_bytes(data)
    refused(read_image, path, "damaged")


def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "x.png").mkdir()  # reading a folder fails for every user
    refused(read_image, tmp_path / "x.png", "cannot be read")


# --- masks -------------------------------------------------------------------


def test_gray_masks_are_labels(saved):
    np.testing.assert_array_equal(read_mask(saved(GRAY), "m"), GRAY)


def test_black_and_white_masks_are_0_and_1(saved):
    mask = read_mask(saved(GRAY > 127), "m")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, GRAY > 127)


@pytest.mark.parametrize("bits", [1, 8])
def test_gray_of_1_and_8_bits_is_what_the_file_stores(tmp_path, bits):
    samples = GRAY % 2**bits if bits == 1 else GRAY
    path = gray_png(tmp_path / "x.png", samples, bits)
    np.testing.assert_array_equal(read_mask(path, "m"), samples)
    np.testing.assert_array_equal(read_instances(path, "i"), samples)


def test_gray_of_16_bits_is_what_the_file_stores(tmp_path):
    samples = GRAY.astype(np.uint16) * 200
    path = gray_png(tmp_path / "x.png", samples, 16)
    np.testing.assert_array_equal(read_instances(path, "i"), samples)


@pytest.mark.parametrize(("bits", "step"), [(2, 85), (4, 17)])
def test_gray_of_2_and_4_bits_could_be_either(tmp_path, bits, step):
    """The label 1, as somebody wrote it; or the label 17, as a program shrank it."""
    samples = GRAY % 2**bits
    path = gray_png(tmp_path / "x.png", samples, bits)
    # For an image, Pillow's scaling is what the shades mean.
    np.testing.assert_array_equal(pixels(path), samples * step)
    for read in (read_mask, read_instances):
        said = refused(read, path, f"gray PNG of {bits} bits.*Either could be")
        assert f"0 (gray 0), 1 (gray {step})" in said
    # Both ways out that the message names lead to what they say.
    recipes = said.split("If the ")[1:]
    assert [recipe.split()[0] for recipe in recipes] == ["sample", "gray"]
    for recipe, labels in zip(recipes, (samples, samples * step), strict=True):
        new = gray_png(tmp_path / "new.png", samples, bits)
        code = recipe.split("is: ")[1].strip().removesuffix(".")
        exec(code, {"np": np, "Image": Image, "path": new})
        np.testing.assert_array_equal(read_mask(new, "m"), labels)
    nothing = gray_png(path, samples * 0, bits)
    np.testing.assert_array_equal(read_mask(nothing, "m"), samples * 0)


def indexed(labels, palette):
    image = Image.fromarray(labels.astype(np.uint8)).convert("P")
    image.putdata(labels.ravel().tolist())
    image.putpalette(palette)
    return image


def voc_palette():
    """PASCAL VOC's 256 colors, by the bits of the index as its toolbox does."""
    colors = np.zeros((256, 3), int)
    for index in range(256):
        for bit in range(8):
            channel, place = bit % 3, 7 - bit // 3
            colors[index, channel] |= (index >> bit & 1) << place
    assert colors[7].tolist() == [128, 128, 128] and colors[1].tolist() == [128, 0, 0]
    return colors.ravel().tolist()


def test_palette_masks_are_their_indices(saved):
    # Index 7 of VOC is a gray, 128: the other colors tell that it is no label.
    labels = np.random.default_rng(0).choice([0, 7], (5, 7))
    path = saved(indexed(labels, voc_palette()))
    assert Image.open(path).mode == "P"
    np.testing.assert_array_equal(read_mask(path, "m"), labels)


def test_a_palette_of_black_and_white_is_0_and_1(saved):
    labels = (GRAY > 127).astype(int)
    path = saved(indexed(labels, [0, 0, 0, 255, 255, 255]))
    np.testing.assert_array_equal(read_mask(path, "m"), labels)


@pytest.mark.parametrize("grays", [(0, 3), (255, 0), (0, 1, 4)])
def test_a_palette_of_grays_that_could_be_labels(saved, grays):
    labels = GRAY.astype(int) % len(grays)
    path = saved(indexed(labels, np.repeat(grays, 3).tolist()))
    said = refused(read_mask, path, "Either could be the label")
    # Both ways out that the message names lead to what they say.
    gray = saved(Image.open(path).convert("L"), "g.png")
    np.testing.assert_array_equal(read_mask(gray, "m"), np.array(grays)[labels])
    index = saved(Image.fromarray(np.asarray(Image.open(path))), "i.png")
    np.testing.assert_array_equal(read_mask(index, "m"), labels)
    assert f"gray {grays[-1]}" in said


def test_color_masks_come_with_a_recipe_that_works(saved):
    labels = GRAY.astype(int) % 3
    colors = np.array([[0, 0, 0], [128, 0, 0], [0, 200, 10]], np.uint8)
    path = saved(colors[labels])
    said = refused(read_mask, path, r"a mask of 3 colors \(RGB\)")
    lines = [line[4:] for line in said.splitlines() if line.startswith("    ")]
    exec("\n".join(lines), {"np": np, "Image": Image, "path": path})
    mask = read_mask(path, "m")
    # The recipe numbers the colors in sorted order: black, green, red.
    np.testing.assert_array_equal(mask, np.array([0, 2, 1])[labels])


def test_masks_of_very_many_colors_are_said_to_be_blurred(saved):
    refused(read_mask, saved(np.tile(RGB, (20, 1, 1)) // 2 * 2), "mask of 35 colors")
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    refused(read_mask, saved(noise), "stored as JPEG")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_gray_masks_with_more_channels(saved, mode):
    path = saved(Image.fromarray(GRAY).convert(mode))
    refused(read_mask, path, "hold the same values")
    Image.open(path).convert("L").save(path)  # what the message says
    np.testing.assert_array_equal(read_mask(path, "m"), GRAY)


def test_masks_of_sixteen_bits(saved):
    wide = GRAY.astype(np.uint16) * 3
    said = refused(read_mask, saved(wide), "16 bits per pixel")
    assert f"largest value {wide.max()}" in said and "instances/" in said


def test_masks_of_another_format(saved):
    path = saved(GRAY, "x.jpg")
    refused(read_mask, path.rename(path.with_suffix(".png")), "is a JPEG file")


# --- instances ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_instances_are_numbers(saved, dtype):
    numbers = GRAY.astype(dtype) * (200 if dtype is np.uint16 else 1)
    read = read_instances(saved(numbers), "i")
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, numbers)


def test_instances_in_color(saved):
    refused(read_instances, saved(RGB), "gray PNG of 16 bits")

"""From the bytes of a file to an array of pixels or labels, or to a clear error."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from seglab.data._archive import MAX_FILE_BYTES, Readable
from seglab.data.dataset import DataError

FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Endings of image files, and Pillow's name for what is in them."""

MAX_PIXELS = 2**26
"""Most pixels in one image (8192 x 8192): a small file can claim any size."""

ORIENTATION = 0x0112
"""EXIF's number for how the camera was held: 1 is upright, 2 to 8 turn or mirror."""

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I")
"""Pillow's modes for gray of more than 8 bits; which one depends on its version."""

KNOWN_STARTS = {
    b"II*\x00": "a TIFF",
    b"MM\x00*": "a TIFF",
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"\x93NUMPY": "a NumPy array",
    b"\x89PNG": "a PNG",
    b"\xff\xd8\xff": "a JPEG",
    b"RIFF": "a WebP",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"<!DOCTYPE": "a web page, not the file itself",
    b"<html": "a web page, not the file itself",
}
"""What files that are not what their name says tend to be, by their first bytes."""

_DAMAGED = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)

Size = tuple[int, int]

Pixels = NDArray[np.uint8] | NDArray[np.float32]


def read_bytes(path: Readable, label: str) -> bytes:
    """Read all of a file, on disk or in a zip.

    Parameters
    ----------
    path : Path or zipfile.Path
        Any file.
    label : str
        What to call the file in an error.

    Raises
    ------
    DataError
        When it cannot be read, or is too large.
    """
    try:
        # A lie in a zip's directory ends here: no more is read than it claims.
        data = path.read_bytes()
    except Exception as error:  # what damaged zips raise has no class in common
        raise DataError(f"{label} cannot be read: {error}.") from error
    if len(data) > MAX_FILE_BYTES:
        raise DataError(
            f"{label} has {len(data)} bytes; at most {MAX_FILE_BYTES} are read."
        )
    return data


def read_image(
    path: Readable, label: str, size: Size | None = None
) -> tuple[Pixels, Size]:
    """Read an image as gray or RGB.

    A photograph that a camera marked as turned (EXIF) is turned upright.

    Parameters
    ----------
    path : Path or zipfile.Path
        PNG, WebP or JPEG.
    label : str
        What to call the file in an error.
    size : (int, int), optional
        New (height, width). Shrinking averages, so that nothing aliases.

    Returns
    -------
    pixels : ndarray, shape (H, W) or (H, W, 3)
        uint8, or float32 in [0, 1] for 16-bit gray. Gray when all three channels
        are equal: WebP has no gray, so it is stored so there.
    size : (int, int)
        Height and width before resizing.

    Raises
    ------
    DataError
        When the file cannot be read, or has transparent pixels.
    """
    pixels, original, _ = read_upright(path, label, size)
    return pixels, original


def read_upright(
    path: Readable, label: str, size: Size | None = None
) -> tuple[Pixels, Size, bool]:
    """Read an image as `read_image` does, and tell whether EXIF has turned it.

    A third value is True where a camera's mark has turned or mirrored the image: its
    mask may have been drawn without.
    """
    image, turned = _open(path, label, upright=True)
    original = (image.height, image.width)
    if image.mode in SIXTEEN_BITS:
        # Either way the values are those of 16 bits.
        wide = np.asarray(image).astype(np.float32) / 65535
        image = Image.fromarray(wide)  # mode F
    elif "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            raise DataError(
                f"{label} has transparent pixels, whose color is not defined. Put it "
                "on a ground: Image.alpha_composite(Image.new('RGBA', im.size, "
                "'white'), im.convert('RGBA')).convert('RGB')."
            )
        image = image.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    if image.mode not in ("L", "RGB", "F"):
        raise DataError(
            f"{label} has Pillow's mode {image.mode}; images are gray or RGB. Convert "
            "it: Image.open(path).convert('RGB')."
        )
    if size is not None and size != original:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    if pixels.ndim == 3 and _is_gray(pixels):
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels), original, turned


def read_mask(path: Readable, label: str) -> NDArray[np.uint8]:
    """Read a mask: a PNG of one 8-bit label per pixel.

    The labels of a palette PNG are its indices (as in PASCAL VOC, where the
    colors only help the eye), not its colors. Gray of 1 bit is 0 and 1; gray of 2 or
    4 bits, in which 1 may stand for the label 1 or for a shade, is refused.

    Parameters
    ----------
    path : Path or zipfile.Path
        A PNG file.
    label : str
        What to call the file in an error.

    Returns
    -------
    ndarray of uint8, shape (H, W)

    Raises
    ------
    DataError
        When it is not such a file; the message says how to make it one.
    """
    image, _ = _open(path, label)
    if image.format != "PNG":
        raise DataError(f"{label} is a {image.format} file; a mask must be a PNG.")
    if image.mode in SIXTEEN_BITS:
        raise DataError(
            f"{label} has 16 bits per pixel (largest value {np.asarray(image).max()}); "
            "a mask has 8. If the values are classes: Image.fromarray(np.asarray("
            "Image.open(path)).astype('uint8')).save(path). If they number objects, "
            "the file belongs into instances/, and its mask of background and object "
            "is (np.asarray(Image.open(path)) > 0).astype('uint8')."
        )
    if image.mode == "P":
        labels = np.asarray(image)  # (H, W): indices, not colors
        _check_palette(image, labels, label)
        return labels
    if image.mode in ("L", "1"):
        return np.asarray(image).astype(np.uint8)
    raise DataError(_color_mask(image, label))


def read_instances(path: Readable, label: str) -> NDArray[np.int32]:
    """Read the numbers of objects: a gray PNG of 16 bits, or 8 where they suffice.

    Parameters
    ----------
    path : Path or zipfile.Path
        A PNG file.
    label : str
        What to call the file in an error.

    Returns
    -------
    ndarray of int32, shape (H, W)

    Raises
    ------
    DataError
        When it is not such a file.
    """
    image, _ = _open(path, label)
    if image.format != "PNG" or image.mode not in (*SIXTEEN_BITS, "L", "1"):
        raise DataError(
            f"{label} is a {image.format} of Pillow's mode {image.mode}; numbers of "
            "objects are stored as gray PNG of 16 bits: "
            "Image.fromarray(numbers.astype('uint16')).save(path)."
        )
    return np.asarray(image).astype(np.int32)


def _open(
    path: Readable, label: str, upright: bool = False
) -> tuple[Image.Image, bool]:
    """Decode all of a file, so that damage shows here.

    A picture is turned upright, and it is said whether that changed it. Labels are
    not turned; they must be in the file as they are given.
    """
    data = read_bytes(path, label)
    turned = False
    try:
        image = Image.open(io.BytesIO(data), formats=sorted(set(FORMATS.values())))
        if image.width * image.height <= MAX_PIXELS:
            image.load()
            if upright:
                turned = image.getexif().get(ORIENTATION, 1) in range(2, 9)
                ImageOps.exif_transpose(image, in_place=True)
    except _DAMAGED as error:
        said = next(
            (said for start, said in KNOWN_STARTS.items() if data.startswith(start)),
            "something else" if data else "an empty file",
        )
        if said in ("a PNG", "a JPEG", "a WebP"):
            said = f"begins as {said} and is damaged or cut off ({error})"
        else:
            said = f"is no PNG, WebP or JPEG image but {said}"
        raise DataError(f"{label} {said}. Replace or remove it.") from None
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"{label} has {image.height} × {image.width} pixels; at most "
            f"{MAX_PIXELS} are read. Cut it into pieces."
        )
    if image.format == "PNG" and not upright:
        _check_bits(image, data, label)
    return image, turned


def _is_gray(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether the three channels are equal; a look at one row is often enough."""
    return all(
        np.array_equal(part[..., 0], part[..., 1])
        and np.array_equal(part[..., 0], part[..., 2])
        for part in (pixels[len(pixels) // 2], pixels)
    )


def _check_bits(image: Image.Image, data: bytes, label: str) -> None:
    """Refuse gray of 2 or 4 bits, whose samples Pillow multiplies by 85 or 17.

    The sample may be the label. But a program that shrinks PNG files stores the labels
    {0, 17} as 4 bits too, as {0, 1}: nothing in the file says which was meant.
    """
    bits, color = data[24:26]  # of the header, which comes first
    if color != 0 or bits not in (2, 4):
        return
    step = 255 // (2**bits - 1)
    grays = np.unique(np.asarray(image))
    if not grays.any():
        return  # 0 either way
    pairs = ", ".join(f"{gray // step} (gray {gray})" for gray in grays[:6])
    raise DataError(
        f"{label} is a gray PNG of {bits} bits; its samples are {pairs}. Either could "
        "be the label. If the sample is: Image.fromarray(np.asarray(Image.open(path)) "
        f"// {step}).save(path). If the gray is: Image.fromarray(np.asarray("
        "Image.open(path))).save(path)."
    )


def _check_palette(image: Image.Image, labels: NDArray[np.uint8], label: str) -> None:
    """Refuse a palette of grays that are themselves labels.

    A program that shrinks PNG files may turn the gray mask {0, 3} into indices
    {0, 1} with the grays 0 and 3. Nothing in the file says which was meant.
    """
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)  # (n, 3)
    used = np.unique(labels)
    if used[-1] >= len(palette):
        return  # an index without a color: it can only be meant as a label
    if not (palette == palette[:, :1]).all():
        return  # colors for the eye
    grays = palette[used, 0]
    black_and_white = all(
        (i, g) in ((0, 0), (1, 255)) for i, g in zip(used, grays, strict=True)
    )
    if (grays == used).all() or black_and_white:
        return
    pairs = ", ".join(
        f"{i} (gray {g})" for i, g in list(zip(used, grays, strict=True))[:6]
    )
    raise DataError(
        f"{label} is a palette PNG whose colors are grays other than its indices: "
        f"{pairs}. Either could be the label. If the gray is: "
        "Image.open(path).convert('L').save(path). If the index is: "
        "Image.fromarray(np.asarray(Image.open(path))).save(path)."
    )


def _color_mask(image: Image.Image, label: str) -> str:
    """Say how to turn this mask of colors into labels."""
    rgb = np.asarray(image.convert("RGB")).reshape(-1, 3)  # (H * W, 3)
    if (rgb == rgb[:, :1]).all():
        return (
            f"{label} is a mask with {len(image.getbands())} channels ({image.mode}) "
            "that hold the same values; a mask has one. Convert it: "
            "Image.open(path).convert('L').save(path)."
        )
    colors = [tuple(color) for color in np.unique(rgb, axis=0).tolist()]
    many = ", ..." if len(colors) > 6 else ""
    table = ", ".join(f"{color}: {i}" for i, color in enumerate(colors[:6])) + many
    text = (
        f"{label} is a mask of {len(colors)} colors ({image.mode}); a mask has one "
        "8-bit label per pixel. Name the label of each color and convert:\n"
        f"    labels = {{{table}}}\n"
        "    rgb = np.asarray(Image.open(path).convert('RGB'))\n"
        "    mask = np.full(rgb.shape[:2], 255, 'uint8')\n"
        "    for color, label in labels.items():\n"
        "        mask[(rgb == color).all(axis=-1)] = label\n"
        "    Image.fromarray(mask).save(path)"
    )
    if len(colors) > 64:
        text += (
            "\nSo many colors mean that the mask was blurred, resized with "
            "interpolation or stored as JPEG: go back to the original if you can."
        )
    return text

"""``seglab predict``: masks and overlays for the user's own images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from seglab.cli import options
from seglab.cli.errors import (
    MISTAKES,
    CommandError,
    out,
    refuse_to_overwrite,
    show_error,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seglab.cli.run import Run


class Views(StrEnum):
    """What is averaged over at test time; each word must be true of the data."""

    horizontal = "horizontal"
    flips = "flips"
    dihedral = "dihedral"


def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder that seglab train made.")
    ],
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE...", help="PNG, WebP or JPEG files, or folders of them."
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the results.",
            show_default="RUN/predictions",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            help="Resize images by this factor for the model. Objects should be as "
            "large as in training.",
            show_default="as in training",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Predict tiles of N x N pixels, for images that do not fit in memory "
            "whole.",
            show_default="the whole image",
        ),
    ] = None,
    tta: Annotated[
        Views | None,
        typer.Option(
            help="Average over mirror images (horizontal: left and right; flips: both "
            "axes) or also quarter turns (dihedral): takes 2, 4 or 8 times as long."
        ),
    ] = None,
    force: options.Force = False,
) -> None:
    """Segment images of any size: NAME_mask.png and NAME_overlay.png for each.

    A mask holds the class number of each pixel, 8 bits, and so looks nearly black;
    the overlay is for the eye. Ends with exit code 1 when an image failed.
    """
    from seglab.cli.run import Run

    trained = Run.read(run)
    if scale is not None and not 0 < scale <= 16:
        raise CommandError(f"--scale is {scale}; it must be above 0 and at most 16.")
    files = list(_files(images))
    folder = run / "predictions" if to is None else to
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"--out is {folder}, which is a file; name a folder.")
    model = trained.load_model()
    folder.mkdir(parents=True, exist_ok=True)

    failed = 0
    taken: dict[str, Path] = {}
    for file in files:
        try:
            if file.stem in taken:
                raise CommandError(
                    f"{file} has the name of {taken[file.stem]}; its results would "
                    "take the same place. Predict it with another --out."
                )
            _predict_file(trained, model, file, folder, scale, tile, tta, force)
            taken[file.stem] = file
        except MISTAKES as error:  # the other images can still be segmented
            failed += 1
            show_error(error)
    if failed:
        out.print(Text(f"{failed} of {len(files)} images failed."))
        raise typer.Exit(1)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """List the files to predict: folders give the images in them."""
    from seglab.data._decode import FORMATS

    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in FORMATS)
        if not inside:
            raise CommandError(f"{path} holds no PNG, WebP or JPEG file.")
        yield from inside


def _predict_file(
    run: Run,
    model: Any,
    file: Path,
    folder: Path,
    scale: float | None,
    tile: int | None,
    tta: str | None,
    force: bool,
) -> None:
    import numpy as np
    from PIL import Image

    from seglab import inference
    from seglab.data import resize_images
    from seglab.plots import overlay

    mask_file = folder / f"{file.stem}_mask.png"
    overlay_file = folder / f"{file.stem}_overlay.png"
    for target in (mask_file, overlay_file):
        refuse_to_overwrite(target, force)
    picture, pixels = prepare(run, file, scale)
    scores = inference.predict(model, pixels, tile=tile, tta=tta)  # (h, w, K)
    if scores.shape[:2] != picture.shape[:2]:
        # Scores may be interpolated, labels may not: so enlarge first, choose after.
        height, width = picture.shape[:2]
        scores = resize_images(scores[None], (height, width))[0]
    mask = scores.argmax(axis=-1)  # (H, W)
    Image.fromarray(mask.astype(np.uint8)).save(mask_file)
    painted = overlay(picture, mask, num_classes=len(run.classes))
    Image.fromarray(np.round(255 * painted).astype(np.uint8)).save(overlay_file)
    shares = np.bincount(mask.ravel(), minlength=len(run.classes)) / mask.size
    listed = ", ".join(
        f"{name} {share:.1%}" for name, share in zip(run.classes, shares, strict=True)
    )
    out.print(Text(f"{file}: {listed} → {mask_file}, {overlay_file}"))


def prepare(
    run: Run, file: Path, scale: float | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read an image and do to it what training did to its images.

    Returns
    -------
    picture : ndarray of float32, shape (H, W, C)
        The image in its own size, for the overlay.
    pixels : ndarray of float32, shape (h, w, C)
        The image in the size for the model.
    """
    from seglab.data._decode import read_image

    if not file.is_file():
        raise CommandError(f"there is no file {file}.")
    raw, size = read_image(file, str(file))
    picture = _channels(raw, run.channels)
    new_size = model_size(run, size, scale)
    pixels = picture
    if new_size != size:
        # The reader that also resizes training images: the same pixels in both.
        raw, _ = read_image(file, str(file), new_size)
        pixels = _channels(raw, run.channels)
    if run.recipe.contrast:
        from seglab.data import stretch_contrast

        picture = stretch_contrast(picture[None])[0]
        pixels = stretch_contrast(pixels[None])[0]
    return picture, pixels


def model_size(run: Run, size: tuple[int, int], scale: float | None) -> tuple[int, int]:
    """Choose the height and width at which the model sees an image."""
    factors = (scale, scale) if scale is not None else run.scale
    if factors is None:
        # Training images of several sizes were all brought to one.
        height, width = run.dataset["image_shape"][:2]
        return height, width
    height, width = (max(1, round(n * f)) for n, f in zip(size, factors, strict=True))
    return height, width


def _channels(pixels: NDArray[Any], channels: int) -> NDArray[np.float32]:
    """Give gray or RGB as the model wants it, (H, W, C) in [0, 1]."""
    import numpy as np

    scaled = pixels / np.float32(255) if pixels.dtype == np.uint8 else pixels
    if scaled.ndim == 2:
        return np.repeat(scaled[..., None], channels, axis=-1).astype(np.float32)
    if channels == 3:
        return scaled.astype(np.float32)
    # Luma of ITU-R BT.601, with which Pillow makes gray of RGB too.
    luma = scaled @ np.array([0.299, 0.587, 0.114], np.float32)  # (H, W)
    return np.clip(luma, 0, 1)[..., None].astype(np.float32)

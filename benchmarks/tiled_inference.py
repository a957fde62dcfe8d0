"""Predict an image of 4096 x 4096 tile by tile: seglab beside MONAI, the same weights.

A U-Net of width 8 with 2 classes, untrained; tiles of 512, an overlap of a quarter,
Gaussian weights, batches of 4. PyTorch's U-Net has the weights of Keras's, and all
contestants are shown to give the same probabilities first. Each run is a process of its
own, which first runs one batch: its memory is what it needs beyond that.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
from harness import Goal, Result, Row, Table, interleave, ratio

TILE, OVERLAP, BATCH, CLASSES = 512, 0.25, 4, 2

Prediction = Callable[[Any], Any]


def predictions(blend: str, overlap: float, tile: int) -> dict[str, Prediction]:
    """Make the contestants: from an image (H, W, 1) to probabilities (H, W, 2)."""
    import networks
    from monai.inferers import sliding_window_inference

    from seglab import device, inference, models

    torch = networks.torch
    device.set_seed(0)
    network = models.unet((None, None, 1), CLASSES, width=8)
    twin = networks.TorchUNet(1, CLASSES, width=8).eval()
    networks.copy_weights(network, twin)
    options: dict[str, Any] = {
        "tile": tile,
        "overlap": overlap,
        "blend": blend,
        "batch_size": BATCH,
        "progress": False,
    }

    def torch_forward(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
            return np.asarray(twin(x)).transpose(0, 2, 3, 1)

    def monai(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            maps = sliding_window_inference(
                torch.from_numpy(image.transpose(2, 0, 1)[None]),
                (tile, tile),
                BATCH,
                lambda x: torch.softmax(twin(x), dim=1),
                overlap=overlap,
                mode=blend,
            )
        return np.asarray(maps)[0].transpose(1, 2, 0)

    return {
        "seglab predict": lambda image: inference.predict(network, image, **options),
        "seglab predict, PyTorch network": lambda image: inference.predict(
            torch_forward, image, **options
        ),
        "MONAI sliding_window_inference": monai,
        "seglab predict, to a file": lambda image: inference.predict(
            network, image, out=Path(tempfile.mkdtemp()) / "out.npy", **options
        ),
    }


def child(name: str, size: int) -> None:
    """Run one contestant once; print its seconds and its memory."""
    predict = predictions("gaussian", OVERLAP, TILE)[name]
    rng = np.random.default_rng(0)
    for _ in range(2):  # four tiles: one batch
        predict(rng.random((2 * TILE - 128, 2 * TILE - 128, 1), np.float32))
    before = _peak()
    image = rng.random((size, size, 1), np.float32)
    start = time.perf_counter()
    result = predict(image)
    seconds = time.perf_counter() - start
    both = image.nbytes + result.nbytes
    memory = (_peak() - before) / both
    print(json.dumps({"seconds": seconds, "memory": memory}))


def _peak() -> int:
    """Give the largest memory that this process had so far, in bytes.

    On Linux not getrusage's: that begins with the peak of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (peak,) = re.findall(r"(?m)^VmHWM:\s*(\d+) kB$", status.read_text())
        return 1024 * int(peak)
    scale = 1 if sys.platform == "darwin" else 1024
    return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def check_equal(tile: int) -> dict[str, float]:
    """Compare the probabilities of all contestants, at places that all choose alike.

    MONAI gives no pixel of a tile less than a thousandth of its center's weight. Near
    the image's border, where all weights are smaller than that, tiles thus count
    alike; so with Gaussian weights the middle is compared, where it matters little.
    """
    image = np.random.default_rng(1).random((2 * tile, 2 * tile, 1), np.float32)
    differences = {}
    for blend, border, limit in (("constant", 0, 1e-5), ("gaussian", tile // 2, 1e-2)):
        inner = slice(border, 2 * tile - border)
        ours, *others = (
            predict(image)[inner, inner]
            for predict in predictions(blend, 0.5, tile).values()
        )
        largest = max(float(np.abs(other - ours).max()) for other in others)
        assert largest < limit, (blend, largest)
        differences[f"largest difference, {blend} weights"] = largest
    return differences


def stitching(size: int, tile: int) -> dict[str, Callable[[], Any]]:
    """Make contestants that do everything but run a network."""
    import torch
    from monai.inferers import sliding_window_inference

    from seglab import inference

    image = np.random.default_rng(0).random((size, size, 2), np.float32)
    tensor = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    return {
        "seglab predict": lambda: inference.predict(
            lambda x: x, image, tile=tile, from_logits=False, progress=False
        ),
        "MONAI sliding_window_inference": lambda: sliding_window_inference(
            tensor, (tile, tile), BATCH, lambda x: x, overlap=0.5, mode="gaussian"
        ),
    }


def main() -> None:
    options = harness.arguments(__doc__ or "")
    quick = options.quick
    facts = check_equal(64 if quick else TILE)
    print(facts, file=sys.stderr)
    stitched = interleave(stitching(1024, 256), 2 if quick else 15)

    size = 1280 if quick else 4096
    names = list(predictions("gaussian", OVERLAP, TILE))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn in range(1 if quick else 3):
        for name in names:
            if name.endswith("file") and turn:
                continue  # once, for its memory
            print(f"  round {turn + 1}: {name}", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "child", name, str(size)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
    memory = {name: max(run["memory"] for run in found) for name, found in runs.items()}
    seconds = {name: [r["seconds"] for r in runs[name]] for name in names[:3]}
    Result(
        "tiled_inference",
        [
            Table(
                f"An image of {size} × {size} in tiles of {TILE}",
                [
                    Row(
                        name,
                        times,
                        f"memory: {memory[name]:.2f} × (image + probabilities)",
                    )
                    for name, times in seconds.items()
                ],
                "seglab predict",
                unit="s",
                note="With `out=` a file, seglab needs "
                f"{memory[names[3]]:.2f} × (image + probabilities).",
            ),
            Table(
                "Stitching alone: 1024 × 1024 × 2 in half-overlapping tiles of 256",
                [Row(name, times) for name, times in stitched.items()],
                "seglab predict",
            ),
        ],
        [
            Goal(
                "seglab over MONAI",
                ratio(seconds[names[0]], seconds[names[2]]),
                1,
            ),
            Goal(
                "seglab over MONAI, the same PyTorch network",
                ratio(seconds[names[1]], seconds[names[2]]),
                1,
            ),
            Goal("peak memory over image + probabilities", memory[names[0]], 1.5),
        ],
        facts=facts,
        quick=quick,
    ).save()


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main()

"""The seglab command: what it writes, and what it says to each mistake."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import seglab
from seglab import data
from seglab.cli import app
from seglab.cli.options import parse_pairs, parse_size
from seglab.cli.predict import model_size, prepare
from seglab.cli.run import Recipe, Run, stored_sizes, training_scale

TINY = ("--width", 2, "--depth", 2, "--epochs", 2)
QUICK = ("--width", 2, "--depth", 1, "--epochs", 1)


def seglab_(*arguments):
    """Run the command in this process; stdout and stderr come together."""
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(
        app, [str(argument) for argument in arguments]
    )


def succeed(*arguments):
    result = seglab_(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def fail(*arguments, code=2):
    """Run it wrongly: a sentence, the exit code, no traceback."""
    result = seglab_(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's data set: 12 cell images of 40 x 40 and a column of two values."""
    path = tmp_path_factory.mktemp("own") / "slides"
    data.save(data.load("cells", count=12, size=40), path)
    rows = list(csv.reader((path / "index.csv").read_text().splitlines()))
    with (path / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*rows[0], "stain", "batch"])
        for number, row in enumerate(rows[1:]):
            writer.writerow([*row, "DAPI" if number % 2 else "GFP", number % 2])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on simulated cells."""
    path = tmp_path_factory.mktemp("runs") / "first"
    succeed("train", "cells", "--count", 12, "--size", 32, *TINY, "--out", path)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """One gray image of an awkward size."""
    path = tmp_path_factory.mktemp("images") / "one.png"
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


# --- quick, and quiet about backends


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["--version"],
        ["data", "list"],
        ["data", "show", "cells", "--count", "3"],
    ],
)
def test_no_backend_is_imported(arguments):
    code = (
        "import sys; from seglab.cli import app; app(sys.argv[1:], "
        "standalone_mode=False); "
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True
    )


def test_help_is_quick():
    resource = pytest.importorskip("resource", reason="counts CPU time, on Unix only")

    def cpu():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = cpu()
    subprocess.run(
        [sys.executable, "-m", "seglab", "--help"], check=True, capture_output=True
    )
    # CPU time, which a busy machine does not stretch much; 0.3 s where measured.
    assert cpu() - before < 1


def test_version():
    assert succeed("--version").strip() == seglab.__version__


# --- doctor


def test_doctor_says_what_is_here(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGLAB_DATA", str(tmp_path))
    (tmp_path / "pets.zip").touch()
    text = succeed("doctor")
    assert seglab.__version__ in text
    # A terminal is narrower than some paths: lines are broken anywhere.
    assert str(tmp_path / "pets.zip").replace(" ", "") in "".join(text.split())
    assert "not here" in text


def test_doctor_json(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGLAB_DATA", str(tmp_path / "nowhere"))
    facts = json.loads(succeed("doctor", "--json"))
    assert facts["problem"] is None
    assert facts["backend"] in ("tensorflow", "jax", "torch")
    assert facts["data"]["folders"][0] == {
        "path": str(tmp_path / "nowhere"),
        "exists": False,
    }
    assert set(facts["data"]["sets"]) == {"nuclei", "pets", "aerial", "road"}


def test_doctor_fails_when_the_backend_is_missing():
    # In a new process: Keras fixes its backend when it is imported.
    result = subprocess.run(
        [sys.executable, "-m", "seglab", "doctor"],
        env={**os.environ, "KERAS_BACKEND": "mxnet"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "KERAS_BACKEND" in result.stdout
    assert "Traceback" not in result.stderr


def test_doctor_looks_at_data(folder):
    """Good data, an image that stands in two parts, and masks of black and white."""
    assert "error" not in succeed("doctor", "--data", folder)
    found = json.loads(succeed("doctor", "--data", "cells", "--size", 32, "--json"))
    assert found["checked"][0] == "labels"


def test_doctor_finds_an_image_that_stands_twice(folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "copied")
    rows = (copied / "index.csv").read_text().splitlines()
    split_of = {row.split(",")[0]: row.split(",")[1] for row in rows[1:]}
    train = next(name for name, split in split_of.items() if split == "train")
    test = next(name for name, split in split_of.items() if split == "test")
    (source,) = (copied / "images").glob(f"{train}.*")
    (target,) = (copied / "images").glob(f"{test}.*")
    shutil.copy(source, target)
    text = fail("doctor", "--data", copied, code=1)
    assert "error (overlap): 1 image is in more than one part" in text


def test_train_says_which_sizes_fit(tmp_path):
    """Images of 100 x 130: what to add, not only what is wrong."""
    own = tmp_path / "own"
    dataset = data.load("cells", count=12, size=(100, 130))
    data.save(dataset, own)
    text = fail("train", own, "--out", tmp_path / "run", *QUICK[:2])
    assert "the images are 100 × 130, and a U-Net of depth 4" in text
    assert "Add --size 96x128, or --depth 1." in text
    data.save(data.load("cells", count=12, size=33), tmp_path / "odd")
    text = fail("train", tmp_path / "odd", "--out", tmp_path / "run", *QUICK[:2])
    assert "Add --size 32x32." in text


def test_train_says_that_it_learned_nothing(folder, tmp_path):
    """Eight images in one batch, one step at a rate of next to nothing."""
    text = succeed(
        *("train", folder, "--out", tmp_path / "run", "--depth", 1, "--width", 2),
        *("--epochs", 1, "--learning-rate", 1e-9),
    )
    assert "1 step an epoch" in text
    assert "--batch-size 2 or more epochs" in text
    better = succeed(
        *("train", folder, "--out", tmp_path / "better", "--depth", 1, "--width", 4),
        *("--epochs", 15, "--batch-size", 2),
    )
    assert "an epoch. If" not in better
    for output in (text, better):
        scores = re.search(r"accuracy (\d\.\d+); .* would reach (\d\.\d+)", output)
        reached, constant = map(float, scores.groups())
        assert ("worse than one class everywhere" in output) == (reached < constant)
    assert float(scores[1]) > 0.8


def test_doctor_passes_on_what_cannot_be_loaded(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for i in range(6):
            pixels = np.full((16, 16), 255 * (i % 2), np.uint8)
            pixels[:8] = 0
            Image.fromarray(pixels).save(tmp_path / kind / f"{i}.png")
    assert "hold 0 and 255 alone" in fail("doctor", "--data", tmp_path)


# --- data


def test_data_list_names_all_sets():
    text = succeed("data", "list")
    assert all(name in text for name in data.names())


def test_data_show_and_contact_sheet(tmp_path):
    sheet = tmp_path / "new" / "sheet.png"
    text = succeed("data", "show", "digits", "--count", 9, "--png", sheet)
    assert "9 images of 64 × 64 × 1, 11 classes" in text
    assert "licence:" in text
    with Image.open(sheet) as picture:
        assert picture.width > 900
        assert picture.text["Description"].startswith("7 images.")
    assert "--force" in fail("data", "show", "cells", "--png", sheet)
    succeed("data", "show", "cells", "--count", 3, "--png", sheet, "--force")


def test_data_show_of_a_folder_selects_and_merges(folder):
    text = succeed("data", "show", folder)
    assert "column stain: DAPI, GFP" in text
    half = succeed("data", "show", folder, "--where", "stain=DAPI")
    assert "6 images" in half
    # A column of numbers takes the same text; two values of a column are either.
    both = ("--where", "batch=0", "--where", "batch=1")
    assert "12 images" in succeed("data", "show", folder, *both)
    assert "1 classes" in succeed("data", "show", folder, "--merge", "cell=background")
    assert "(ignored)" in succeed("data", "show", folder, "--ignore", "cell")


def test_data_export_is_read_back(tmp_path):
    options = ("--count", 6, "--size", "32x48", "--seed", 3, "--difficulty", 0.9)
    succeed("data", "export", "cells", tmp_path / "cells.zip", *options)
    back = data.load(tmp_path / "cells.zip")
    made = data.load("cells", count=6, size=(32, 48), seed=3, difficulty=0.9)
    np.testing.assert_array_equal(back.train.masks, made.train.masks)
    # 8-bit files: a value moves by at most half a step.
    np.testing.assert_allclose(
        back.test.images, made.test.images, atol=0.5 / 255 + 1e-6
    )


def test_count_is_taken_after_where(folder):
    chosen = Recipe(str(folder), where={"stain": ["GFP"]}, count=4).load()
    assert sum(map(len, chosen.splits().values())) == 4
    for split in chosen.splits().values():
        assert set(split.columns["stain"]) == {"GFP"}
    again = Recipe(str(folder), where={"stain": ["GFP"]}, count=4).load()
    assert again.train.names == chosen.train.names


# --- train and evaluate


def test_train_writes_a_run(run):
    assert {path.name for path in run.iterdir()} == {
        "model.keras",
        "run.json",
        "history.csv",
        "curves.png",
    }
    record = json.loads((run / "run.json").read_text("utf-8"))
    assert record["classes"] == ["background", "cell"]
    assert record["recipe"]["size"] == 32
    assert record["model"] == {"width": 2, "depth": 2}
    assert record["training"]["epochs"] == 2
    assert record["versions"]["seglab"] == seglab.__version__
    assert record["results"]["seconds"] > 0
    assert len(record["results"]["val"]["classes"]) == 2
    assert len((run / "history.csv").read_text().splitlines()) == 3
    with Image.open(run / "curves.png") as picture:
        assert "training loss" in picture.text["Description"]


@pytest.mark.backends
def test_evaluate_agrees_with_the_library(run, tmp_path):
    files = tmp_path / "report.json", tmp_path / "report.csv"
    text = succeed("evaluate", run, "--json", files[0], "--csv", files[1])
    assert "cell" in text
    report = json.loads(files[0].read_text())
    # The same by hand: the same images, the model from the file, counted by NumPy.
    test = data.load("cells", count=12, size=32).test
    logits = Run.read(run).load_model().predict(test.images, verbose=0)
    p, y = logits.argmax(-1) == 1, test.masks == 1
    assert report["classes"][1]["iou"] == pytest.approx((p & y).sum() / (p | y).sum())
    assert report["images"] == len(test)
    rows = list(csv.DictReader(files[1].open()))
    assert [row["name"] for row in rows] == ["background", "cell"]


def test_evaluate_on_other_data(run, folder):
    assert "slides, val" in succeed("evaluate", run, folder, "--split", "val")
    # A run on resized images resizes other data too; simulated ones were not.
    assert Run.read(run).scale == (1, 1)


@pytest.mark.slow
def test_train_on_a_folder_with_all_options(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    out = tmp_path / "run"
    options = (
        *("--size", 20, "--contrast", "--where", "stain=GFP", "--where", "stain=DAPI"),
        *("--augment", "symmetry", "--seed", 5, "--batch-size", 4),
        *("--learning-rate", 0.01),
    )
    succeed("train", "slides", *QUICK, "--out", out, *options)
    trained = Run.read(out)
    assert trained.scale == (0.5, 0.5)  # 40 pixels to 20
    assert trained.recipe.contrast
    assert trained.training["augment"] == "symmetry"
    monkeypatch.chdir(tmp_path)  # the run knows its data from anywhere
    assert "test" in succeed("evaluate", out)


def test_train_refuses_a_folder_that_is_not_empty(run, tmp_path):
    message = fail("train", "cells", "--out", run)
    assert "not empty" in message
    assert "--force" in message
    (tmp_path / "file").touch()
    assert "is a file" in fail("train", "cells", "--out", tmp_path / "file")


@pytest.mark.slow
def test_force_replaces_the_run_and_nothing_else(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "notes.txt").write_text("mine")
    succeed(
        "train", "cells", "--count", 9, "--size", 16, *QUICK, "--out", copy, "--force"
    )
    assert (copy / "notes.txt").read_text() == "mine"
    assert Run.read(copy).recipe.count == 9


@pytest.mark.slow
def test_an_interrupted_training_is_resumed(tmp_path, monkeypatch):
    """Ctrl-C in the third epoch of four; the result is that of a whole training."""
    from seglab.training.watch import Watch

    command = ("train", "cells", "--count", 9, "--size", 16, "--width", 2)
    command += ("--depth", 1, "--epochs", 4, "--batch-size", 4, "--augment", "full")
    command += ("--schedule", "one-cycle", "--warm-up", 0.2, "--patience", 9)
    command += ("--sampling", "balanced")
    succeed(*command, "--out", tmp_path / "whole")
    begin = Watch.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    halves = tmp_path / "halves"
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_epoch_begin", interrupt)
        text = succeed(*command, "--out", halves)
    assert "Stopped after 2 of 4 epochs" in text
    assert Run.read(halves).results["interrupted"]
    assert "--resume to go on" in fail(*command, "--out", halves)
    assert "--force overwrites" in fail(
        *command, "--out", halves, "--resume", "--force"
    )
    # Another setting is no continuation.
    other = [8 if word == 4 else word for word in command]
    assert "another training" in fail(*other, "--out", halves, "--resume")
    other = ["uniform" if word == "balanced" else word for word in command]
    assert "sampling" in fail(*other, "--out", halves, "--resume")
    succeed(*command, "--out", halves, "--resume")
    whole, resumed = Run.read(tmp_path / "whole"), Run.read(halves)
    assert resumed.results["val"] == whole.results["val"]
    assert resumed.training == whole.training
    assert whole.training["schedule"] == "one-cycle"
    csvs = [(folder / "history.csv").read_text() for folder in (whole.folder, halves)]
    assert csvs[0] == csvs[1]
    assert not (halves / "checkpoint").exists()
    assert "no unfinished training" in fail(*command, "--out", halves, "--resume")


# --- predict


@pytest.mark.backends
def test_predict_writes_masks_and_overlays(run, image, tmp_path):
    text = succeed("predict", run, image, "--out", tmp_path)
    assert "background" in text
    with Image.open(tmp_path / "one_mask.png") as mask:
        assert (mask.mode, mask.size) == ("L", (50, 37))
        labels = np.asarray(mask)
    assert set(np.unique(labels)) <= {0, 1}
    with Image.open(tmp_path / "one_overlay.png") as painted:
        assert (painted.mode, painted.size) == ("RGB", (50, 37))
        rgb = np.asarray(painted)
    gray = np.asarray(Image.open(image))
    clear = labels == 0
    np.testing.assert_array_equal(rgb[clear], gray[clear][:, None].repeat(3, axis=1))


def test_predict_labels_like_the_model(run, tmp_path):
    # On a size that fits, padding must do nothing.
    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 32), dtype=np.uint8)
    for name, image in zip("ab", pixels, strict=True):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    succeed("predict", run, tmp_path, "--out", tmp_path / "out")
    logits = Run.read(run).load_model().predict(pixels[..., None] / 255, verbose=0)
    masks = [np.asarray(Image.open(tmp_path / f"out/{n}_mask.png")) for n in "ab"]
    np.testing.assert_array_equal(masks, logits.argmax(-1))


@pytest.mark.slow
def test_predict_in_tiles_and_over_views(run, image, tmp_path):
    for name, options in {
        "whole": (),
        "tiles": ("--tile", 16),
        "views": ("--tta", "dihedral"),
    }.items():
        succeed("predict", run, image, "--out", tmp_path / name, *options)
    whole, tiles, views = (
        np.asarray(Image.open(tmp_path / name / "one_mask.png"))
        for name in ("whole", "tiles", "views")
    )
    # Other surroundings, and others' votes, change some labels and not most.
    assert 0 < (tiles != whole).mean() < 0.5
    assert 0 < (views != whole).mean() < 0.5
    message = fail("predict", run, image, "--out", tmp_path, "--tile", 30, code=1)
    assert "it takes 28 and 32" in message


@pytest.mark.parametrize(
    ("mode", "size"),
    [("RGB", (20, 30)), ("RGBA", (9, 9)), ("1", (8, 40)), ("L", (1, 1))],
)
def test_predict_takes_any_kind_of_image(run, tmp_path, mode, size):
    Image.new(mode, size, "white").save(tmp_path / "x.png")
    succeed("predict", run, tmp_path / "x.png", "--out", tmp_path / "out")
    with Image.open(tmp_path / "out" / "x_mask.png") as mask:
        assert mask.size == size


def test_predict_resizes_as_training_did(run, image, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    record = json.loads((copy / "run.json").read_text("utf-8"))
    record["scale"] = [0.5, 0.5]
    record["recipe"]["contrast"] = True
    (copy / "run.json").write_text(json.dumps(record))
    succeed("predict", copy, image, "--out", tmp_path / "a")
    succeed("predict", copy, image, "--out", tmp_path / "b", "--scale", 1)
    masks = [np.asarray(Image.open(tmp_path / d / "one_mask.png")) for d in "ab"]
    assert masks[0].shape == masks[1].shape == (37, 50)
    assert (masks[0] != masks[1]).any()
    trained = Run.read(copy)
    assert model_size(trained, (30, 50), None) == (15, 25)
    assert model_size(trained, (30, 50), 2) == (60, 100)
    assert model_size(trained, (1, 1), None) == (1, 1)
    # Training images of several sizes were all brought to one: so is this.
    assert model_size(replace(trained, scale=None), (30, 50), None) == (32, 32)


def test_prepare_gives_what_training_saw(run, folder):
    # Halved and stretched, from the same file, by the command and by the library.
    trained = replace(
        Run.read(run), scale=(0.5, 0.5), recipe=Recipe(str(folder), contrast=True)
    )
    seen = Recipe(str(folder), size=20, contrast=True).load().train
    file = folder / "images" / f"{seen.names[0]}.png"
    picture, pixels = prepare(trained, file, None)
    assert picture.shape == (40, 40, 1)
    np.testing.assert_array_equal(pixels, seen.images[0])


def test_colors_become_luma():
    from seglab.cli.predict import _channels

    rgb = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(rgb).convert("L")) / 255
    # Pillow rounds to whole gray levels.
    np.testing.assert_allclose(_channels(rgb, 1)[..., 0], pillow, atol=1.01 / 255)


def test_predict_goes_on_after_a_file_that_fails(run, image, tmp_path):
    inputs = tmp_path / "in"
    inputs.mkdir()
    shutil.copy(image, inputs / "good.png")
    (inputs / "broken.png").write_bytes(image.read_bytes()[:60])
    (inputs / "text.png").write_text("not an image")
    out = tmp_path / "out"
    message = fail("predict", run, inputs, inputs / "gone.png", "--out", out, code=1)
    assert "broken.png begins as a PNG and is damaged" in message
    assert "text.png is no PNG, WebP or JPEG" in message
    assert "there is no file" in message
    assert "3 of 4 images failed" in message
    assert sorted(path.name for path in out.iterdir()) == [
        "good_mask.png",
        "good_overlay.png",
    ]


def test_predict_does_not_overwrite(run, image, tmp_path):
    succeed("predict", run, image, "--out", tmp_path)
    before = (tmp_path / "one_mask.png").stat().st_mtime_ns
    assert "--force" in fail("predict", run, image, "--out", tmp_path, code=1)
    assert (tmp_path / "one_mask.png").stat().st_mtime_ns == before
    succeed("predict", run, image, "--out", tmp_path, "--force")


def test_predict_tells_files_of_one_name_apart(run, image, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(image, tmp_path / name)
    files = tmp_path / "a" / "one.png", tmp_path / "b" / "one.png"
    message = fail("predict", run, *files, "--out", tmp_path / "out", code=1)
    assert "would take the same place" in message


# --- mistakes


MISTAKES = {
    "a name with a typing error": ("data show cels", "Did you mean 'cells'"),
    "a folder that is not there": ("data show ./nowhere", "no folder or zip"),
    "an option that the set lacks": ("data show coins --difficulty 1", "no option"),
    "difficulty out of range": ("data show cells --difficulty 2", "between 0 and 1"),
    "a size in words": ("data show cells --size big", "--size is 'big'"),
    "a size of three": ("data show cells --size 1x2x3", "HEIGHTxWIDTH"),
    "too few images": ("data show cells --count 2", "count is 2"),
    "an unknown column": ("data show FOLDER --where dye=x", "no column 'dye'"),
    "an unknown value": ("data show FOLDER --where stain=x", "no value 'x'"),
    "no value": ("data show FOLDER --where stain", "NAME=VALUE"),
    "count above what is left": (
        "data show FOLDER --where stain=GFP --count 9",
        "to 6, the images that --where leaves",
    ),
    "an unknown class": ("data show cells --merge rim=cell", "no class 'rim'"),
    "merge without a target": ("data show cells --merge cell", "boundary=nucleus"),
    "a sheet that is a folder": ("data show cells --png FOLDER", "is a folder"),
    "an export over a folder": ("data export cells FOLDER", "exists already"),
    "no command": ("nonsense", "No such command"),
    "no output": ("train cells", "--out"),
    "no epochs": ("train cells --out OUT --epochs 0", "--epochs"),
    "a learning rate of 0": ("train cells --out OUT --learning-rate 0", "above 0"),
    "a warm-up of 1": ("train cells --out OUT --warm-up 1", "--warm-up is 1"),
    "an unknown schedule": ("train cells --out OUT --schedule x", "one-cycle"),
    "an unknown sampling": ("train cells --out OUT --sampling x", "balanced"),
    "nothing to resume": ("train cells --out OUT --resume", "no unfinished training"),
    "an unknown augmentation": ("train cells --out OUT --augment x", "symmetry"),
    "a size that does not fit": (
        "train cells --count 9 --size 50 --out OUT",
        "Add --size 48x48, or --depth 1",
    ),
    "a width of 0": ("train cells --count 9 --width 0 --out OUT", "width is 0"),
    "a run that is not there": ("evaluate nowhere", "there is no run at nowhere"),
    "a folder that is no run": ("evaluate FOLDER", "has no run.json"),
    "a split that is not there": ("evaluate RUN --split dev", "train"),
    "options for the run's own data": ("evaluate RUN --count 3", "for other DATA"),
    "other classes": ("evaluate RUN digits --count 3", "knows the classes"),
    "other channels": ("evaluate RUN COLOR", "1 channels"),
    "a report that exists": ("evaluate RUN --json IMAGE", "--force"),
    "no image": ("predict RUN", "IMAGE"),
    "an empty folder": ("predict RUN EMPTY", "holds no PNG"),
    "a scale of 0": ("predict RUN IMAGE --scale 0", "--scale is 0"),
    "results over a file": ("predict RUN IMAGE --out IMAGE", "is a file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_a_sentence(mistake, run, folder, image, tmp_path):
    command, expected = MISTAKES[mistake]
    (tmp_path / "empty").mkdir()
    if "COLOR" in command:
        dataset = data.load("cells", count=3, size=32)
        colored = dataset.map_images(lambda x: np.concatenate([x, x, x * 0], -1))
        data.save(colored, tmp_path / "color")
    places = {
        "RUN": run,
        "FOLDER": folder,
        "IMAGE": image,
        "OUT": tmp_path / "out",
        "EMPTY": tmp_path / "empty",
        "COLOR": tmp_path / "color",
    }
    message = fail(*(places.get(word, word) for word in command.split()))
    assert expected in message
    assert not (tmp_path / "out").exists()


def test_debug_shows_where():
    result = seglab_("--debug", "data", "show", "cels")
    assert isinstance(result.exception, data.DataError)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "damaged"),
        ('{"format": 99}', "another version"),
        ('{"format": 1, "recipe": {"data": "cells"}}', "damaged"),
    ],
)
def test_a_damaged_record_is_explained(run, tmp_path, content, expected):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "run.json").write_text(content)
    assert expected in fail("evaluate", copy)


def test_a_damaged_model_is_explained(run, image, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "model.keras").write_bytes(b"PK")
    assert "cannot be loaded" in fail("predict", copy, image)
    (copy / "model.keras").unlink()
    assert "has no model.keras" in fail("predict", copy, image)


def test_errors_are_not_taken_for_markup():
    assert "[red]x[/red]" in fail("data", "show", "[red]x[/red]")


# --- small parts


def test_parse_size():
    assert parse_size(None) is None
    assert parse_size("64") == 64
    assert parse_size("64x96") == parse_size("64×96") == (64, 96)


def test_parse_pairs_keeps_an_equals_sign_in_the_value():
    assert parse_pairs(["a = b=c"], "--where") == [("a", "b=c")]


def test_stored_sizes_turn_a_photograph_upright(tmp_path):
    (tmp_path / "images").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    Image.new("L", (40, 30)).save(tmp_path / "images" / "a.jpg", exif=exif)
    assert stored_sizes(tmp_path) == {(40, 30)}
    Image.new("L", (40, 30)).save(tmp_path / "images" / "b.png")
    assert stored_sizes(tmp_path) == {(40, 30), (30, 40)}
    recipe = Recipe(str(tmp_path), size=20)
    assert training_scale(recipe, (20, 20, 1)) is None


def test_scale_of_simulated_and_unresized_images(folder):
    assert training_scale(Recipe("cells", size=128), (128, 128, 1)) == (1, 1)
    assert training_scale(Recipe(str(folder)), (40, 40, 1)) == (1, 1)
    assert training_scale(Recipe(str(folder), size=(20, 10)), (20, 10, 1)) == (
        0.5,
        0.25,
    )

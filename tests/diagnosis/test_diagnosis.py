"""Each mistake, made on purpose, is found; and nothing is found where nothing is."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import seglab
from seglab import data, device, losses, models
from seglab.diagnosis import Diagnosis, Finding, diagnose
from seglab.diagnosis.data_checks import _thumbs

pytestmark = pytest.mark.backends


def arrays(count=6, side=24, classes=2, seed=0):
    """Draw images of bright squares in noise, and their masks."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, side, side), np.int32)
    for mask in masks:
        for k in range(1, classes):
            y, x = rng.integers(0, side - 9, 2)
            mask[y : y + 8, x : x + 8] = k
    noise = rng.random((count, side, side, 1))
    images = 0.5 * masks[..., None] / (classes - 1) + 0.5 * noise
    return images.astype(np.float32), masks


def parts(**changes):
    found = {"train": arrays(seed=1), "val": arrays(seed=2)}
    return found | changes


def seen(diagnosis, check):
    return [finding.seen for finding in diagnosis.of_check(check)]


def test_nothing_is_found_in_good_data():
    for classes in (2, 3):
        good = {
            name: arrays(classes=classes, seed=seed)
            for seed, name in enumerate(("train", "val", "test"))
        }
        diagnosis = diagnose(None, good)
        assert not diagnosis.findings, str(diagnosis)
        assert diagnosis.worst is None
        assert len(diagnosis) == 0
        assert str(diagnosis).startswith("Nothing found by 5 checks: labels, ")


def test_a_diagnosis_is_text_in_a_notebook_too(monkeypatch):
    """Rich would display it there in place of giving it back."""
    diagnosis = seglab.diagnose(None, parts())
    outside = str(diagnosis)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(diagnosis) == outside != ""


@pytest.mark.parametrize("name", ["cells", "digits", "coins"])
def test_the_book_s_data_hold_no_error(name):
    dataset = data.load(name, count=60, size=32)
    diagnosis = diagnose(None, dataset)
    assert all(f.severity == "note" for f in diagnosis), str(diagnosis)


# --- data


def test_black_and_white_masks():
    images, masks = arrays()
    diagnosis = diagnose(None, parts(train=(images, 255 * masks)), num_classes=2)
    (first,) = diagnosis.of_check("labels")
    assert first.severity == "error"
    assert f"hold 255 ({masks.mean():.1%}); the classes are 0 to 1" in first.seen
    assert "masks > 127" in first.fix


def test_fractions_in_masks():
    images, masks = arrays()
    diagnosis = diagnose(None, parts(val=(images, masks / 255)), num_classes=2)
    assert seen(diagnosis, "labels") == [
        "the val masks hold fractions, such as 0.00392, in "
        f"{masks.mean():.1%} of the pixels."
    ]


def test_an_ignore_label_that_was_not_named():
    images, masks = arrays()
    masks[:, :2] = 255
    (found,) = diagnose(None, parts(train=(images, masks)), num_classes=2).of_check(
        "labels"
    )
    assert "255" in found.seen
    assert "ignored" in found.fix
    named = parts(train=(images, masks))
    assert not diagnose(None, named, num_classes=2, ignore_index=255).findings


def test_a_label_beyond_the_classes_and_a_negative_one():
    images, masks = arrays()
    masks[0, :3, :3] = -1
    masks[1, :3, :3] = 7
    (text,) = seen(
        diagnose(None, parts(train=(images, masks)), num_classes=2), "labels"
    )
    assert "hold -1, 7 (" in text


def test_many_strange_labels_are_not_all_listed():
    images, masks = arrays()
    masks[0].flat[:30] = np.arange(100, 130)
    (text,) = seen(
        diagnose(None, parts(train=(images, masks)), num_classes=2), "labels"
    )
    assert "100, 101, 102, 103, 104, … (30 values)" in text


def test_a_class_that_is_missing_or_rare():
    images, masks = arrays(classes=3)
    without = np.where(masks == 2, 0, masks)
    diagnosis = diagnose(
        None,
        {"train": (images, without), "val": arrays(classes=3, seed=5)},
        classes=("land", "house", "tree"),
    )
    (found,) = diagnosis.of_check("classes")
    assert found.severity == "error"
    assert "class 2 (tree) does not occur in the training masks, but" in found.seen
    diagnosis = diagnose(None, {"train": (images, without)}, num_classes=3)
    assert diagnosis.of_check("classes")[0].severity == "warning"
    rare = without.copy()
    rare[0, 0, :3] = 2  # 3 pixels of 6 * 24 * 24
    diagnosis = diagnose(None, {"train": (images, rare)}, num_classes=3)
    (found,) = diagnosis.of_check("classes")
    assert found.severity == "note"
    assert f"{3 / rare.size:.2%}" in found.seen


def test_masks_that_were_interpolated():
    """Classes 0 and 2, made larger by order 1: a line of class 1 around each object."""
    from scipy import ndimage

    images, masks = arrays(count=8, side=48, classes=2)
    masks = 2 * masks
    smooth = ndimage.zoom(masks.astype(float), (1, 1.5, 1.5), order=1)
    blurred = np.rint(smooth).astype(np.int32)
    assert (blurred == 1).any()
    large = np.repeat(np.repeat(images, 2, 1), 2, 2)[:, :72, :72]
    found = diagnose(None, {"train": (large, blurred)}, num_classes=3)
    assert found.of_check("interpolation")[0].severity == "warning"
    assert "class 1 in the train masks" in seen(found, "interpolation")[0]
    sharp = ndimage.zoom(masks, (1, 1.5, 1.5), order=0)
    found = diagnose(None, {"train": (large, sharp)}, num_classes=3)
    assert not found.of_check("interpolation")


def test_a_true_rim_is_no_interpolation():
    """Class 2 around class 1 on 0, as in `nuclei`: it is not between its neighbors."""
    images, masks = arrays(side=48)
    from seglab.evidence.catalog.real_images import with_rims

    rims = np.stack([with_rims(mask) for mask in masks])
    assert not diagnose(None, {"train": (images, rims)}).of_check("interpolation")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: 255 * x, "from 0.0"),
        (lambda x: x / 255, "divided by 255 twice"),
        (lambda x: np.where(x > 0.9, np.nan, x), "hold NaN or infinity, the first at"),
        (lambda x: x - 10, "from -"),
    ],
)
def test_values_that_no_network_should_be_given(change, words):
    images, masks = arrays(seed=1)
    found = diagnose(None, {"train": (change(images), masks)}).of_check("images")
    assert found[0].severity == "error"
    assert words in found[0].seen


def test_an_image_of_one_value_is_pointed_at():
    images, masks = arrays()
    images[3] = 0.5
    texts = seen(diagnose(None, parts(train=(images, masks))), "images")
    assert texts[0].startswith("1 of the train images have one value everywhere")
    assert "index 3" in texts[0]


def test_parts_that_were_prepared_in_two_ways():
    images, masks = arrays(count=12, seed=1)
    other, other_masks = arrays(count=12, seed=2)
    normalized = (other - other.mean()) / other.std()
    bad = diagnose(None, {"train": (images, masks), "val": (normalized, other_masks)})
    assert any("those of training" in text for text in seen(bad, "images"))


def test_the_same_image_in_two_parts():
    train, val = arrays(seed=1), arrays(seed=2)
    val[0][4] = train[0][2]
    found = diagnose(None, {"train": train, "val": val}).of_check("overlap")
    assert [f.severity for f in found] == ["error"]
    assert "train 2 and val 4" in found[0].seen


def test_nearly_the_same_image_in_two_parts():
    """One frame later: brighter, and with other noise."""
    train, val = arrays(seed=1), arrays(seed=2)
    rng = np.random.default_rng(0)
    later = 0.9 * train[0][2] + 0.05 + 0.01 * rng.normal(size=train[0][2].shape)
    val[0][4] = later
    found = diagnose(None, {"train": train, "test": val}).of_check("overlap")
    assert [f.severity for f in found] == ["warning"]
    assert "such as test 4 and train 2" in found[0].seen


def test_images_that_hardly_vary_are_not_alike():
    flat = np.full((4, 24, 24, 1), 0.5) + 1e-4 * np.random.default_rng(0).random(
        (4, 24, 24, 1)
    )
    other = np.full((4, 24, 24, 1), 0.5) + 1e-4 * np.random.default_rng(1).random(
        (4, 24, 24, 1)
    )
    masks = arrays(count=4)[1]
    found = diagnose(None, {"train": (flat, masks), "val": (other, masks)})
    assert not found.of_check("overlap")


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 3),
)
def test_thumbs_are_vectors_of_length_one_or_zero(shape, seed):
    images = np.random.default_rng(seed).random((*shape, 2))
    thumbs = _thumbs(images)
    assert len(thumbs) == shape[0]
    lengths = np.linalg.norm(thumbs, axis=1)
    assert np.all(np.isclose(lengths, 1) | (lengths == 0))
    # Another exposure of the same image gives the same vector, or none.
    np.testing.assert_allclose(thumbs, _thumbs(3 * images), atol=1e-9)


# --- network


def small(output="logits", norm=False, momentum=0.99, filters=4):
    """Build a network of two convolutions."""
    device.set_seed(0)
    x = image = keras.Input((24, 24, 1))
    x = keras.layers.Conv2D(filters, 3, padding="same", name="first")(x)
    if norm:
        x = keras.layers.BatchNormalization(momentum=momentum, name="norm")(x)
    x = keras.layers.Activation("relu", name="relu")(x)
    if output == "dense":
        x = keras.layers.Flatten()(x)
        return keras.Model(image, keras.layers.Dense(2)(x))
    activation = "softmax" if output == "softmax" else None
    x = keras.layers.Conv2D(2, 1, activation=activation, name="last")(x)
    return keras.Model(image, x)


def compiled(model, rate=0.01):
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


def test_a_network_that_can_be_trained_has_no_error():
    model = compiled(small())
    diagnosis = diagnose(model, parts())
    assert not [f for f in diagnosis if f.severity != "note"], str(diagnosis)
    assert diagnosis.checked[5:] == (
        *("output", "numbers", "predictions", "dead units"),
        *("batch norm", "learning rate"),
    )


def test_a_diagnosis_changes_nothing():
    """Weights, moments, counters and averages are those from before."""
    model = compiled(small(norm=True))
    model.fit(*arrays(), epochs=2, verbose=0)
    variables = [*model.variables, *model.optimizer.variables]
    before = [keras.ops.convert_to_numpy(v).copy() for v in variables]
    diagnose(model, parts())
    after = [*model.variables, *model.optimizer.variables]
    assert len(after) == len(before)
    for value, variable in zip(before, after, strict=True):
        np.testing.assert_array_equal(value, keras.ops.convert_to_numpy(variable))


def test_one_answer_for_an_image():
    found = diagnose(small("dense"), parts(), num_classes=2).of_check("output")
    assert "('N', 2): one answer for a whole image" in found[0].seen


def test_channels_and_classes_that_differ():
    found = diagnose(small(), parts(), classes=("a", "b", "c")).of_check("output")
    assert found[0].seen == "the output has 2 channels for 3 classes."


def test_probabilities_where_logits_are_expected():
    (found,) = diagnose(small("softmax"), parts()).of_check("output")
    assert found.severity == "warning"
    assert "softmax" in found.seen


def test_weights_that_are_no_numbers():
    model = small()
    kernel, bias = model.get_layer("first").get_weights()
    kernel[0, 0, 0, 0] = np.nan
    model.get_layer("first").set_weights([kernel, bias])
    (found,) = diagnose(model, parts()).of_check("numbers")
    assert found.severity == "error"
    assert "1 of 4 weights" in found.seen
    assert "first" in found.seen


def test_outputs_that_are_no_numbers():
    model = small()
    kernel, bias = model.get_layer("last").get_weights()
    model.get_layer("last").set_weights([np.full_like(kernel, 3e38), bias])
    first, zero = model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([np.full_like(first, 3e38), zero])
    (found,) = diagnose(model, parts()).of_check("numbers")
    assert "the weights are finite, and the outputs are not" in found.seen


def test_one_class_everywhere():
    model = compiled(small())
    kernel, _ = model.get_layer("last").get_weights()
    model.get_layer("last").set_weights([0 * kernel, np.array([1.0, 0.0])])
    (found,) = diagnose(model, parts()).of_check("predictions")
    assert found.severity == "note"  # it was not trained
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(100)
    (found,) = diagnose(model, parts()).of_check("predictions")
    assert found.severity == "error"
    assert "class 0 at every pixel of 6 images after 100 steps" in found.seen


def test_one_class_everywhere_is_right_where_there_is_but_one():
    images, masks = arrays()
    model = small()
    kernel, _ = model.get_layer("last").get_weights()
    model.get_layer("last").set_weights([0 * kernel, np.array([1.0, 0.0])])
    alone = {"train": (images, 0 * masks)}
    assert not diagnose(model, alone, num_classes=2).of_check("predictions")


def test_dead_units():
    model = small()
    kernel, bias = model.get_layer("first").get_weights()
    bias[:3] = -100
    model.get_layer("first").set_weights([kernel, bias])
    (found,) = diagnose(model, parts()).of_check("dead units")
    assert found.seen.startswith("3 of 4 channels of relu are 0 on every image")


@pytest.mark.parametrize(("momentum", "left"), [(0.99, True), (0.9, False)])
def test_batch_norm_that_has_not_settled(momentum, left):
    steps = 60
    model = compiled(small(norm=True, momentum=momentum))
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(steps)
    found = diagnose(model, parts()).of_check("batch norm")
    assert len(found) == left
    if left:
        assert f"still hold {0.99**60:.0%} of their first values" in found[0].seen
        assert "momentum=0.9 " in found[0].fix
    model.optimizer.iterations.assign(0)  # before a training there is nothing to say
    assert not diagnose(model, parts()).of_check("batch norm")


def test_a_rate_that_is_too_large_or_too_small():
    for rate, words in ((30.0, "too large"), (1e-9, "too small"), (0.01, None)):
        found = diagnose(compiled(small(), rate), parts()).of_check("learning rate")
        assert [words in f.seen for f in found] == ([True] if words else [])


def test_frozen_layers_look_like_a_small_rate():
    model = small()
    model.get_layer("first").trainable = False
    model.get_layer("last").trainable = False
    (found,) = diagnose(compiled(model), parts()).of_check("learning rate")
    assert "nothing is trained" in found.seen
    assert "frozen" in found.fix


def test_a_loss_of_the_package_and_an_ignore_label():
    dataset = data.load("cells", count=20, size=16)
    device.set_seed(0)
    model = models.unet(dataset.image_shape, 2, width=2, depth=1)
    model.compile("adam", losses.CrossEntropy(ignore_index=255), jit_compile=False)
    assert not [f for f in diagnose(model, dataset) if f.severity == "error"]


# --- input and output


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ([1, 2], TypeError, "dataset is a list; expected a seglab.data.Dataset"),
        ({}, ValueError, "dataset is empty"),
        ({"train": 3}, TypeError, r"dataset\['train'\] is a int; expected the pair"),
        ({"train": (["a"], [1])}, TypeError, "the images of train have the dtype <U1"),
        (
            {"train": (np.zeros((2, 4, 4, 1)), np.zeros((2, 4, 5)))},
            ValueError,
            r"images of shape \(2, 4, 4, 1\) and masks of shape \(2, 4, 5\)",
        ),
        (
            {"train": (np.zeros((0, 4, 4, 1)), np.zeros((0, 4, 4)))},
            ValueError,
            "with N > 0",
        ),
    ],
)
def test_what_is_no_data_is_refused(dataset, error, message):
    with pytest.raises(error, match=message):
        diagnose(None, dataset)


def test_classes_of_a_data_set_are_not_given_twice():
    dataset = data.load("cells", count=12, size=16)
    with pytest.raises(ValueError, match="knows its 2 classes"):
        diagnose(None, dataset, num_classes=2)


def test_arrays_of_other_kinds_are_understood():
    """Gray images without a channel, masks with one, boolean masks."""
    images, masks = arrays()
    for pair in (
        (images[..., 0], masks),
        (images, masks[..., None]),
        (images, masks == 1),
        (images, masks.astype(np.uint8)),
        (images, masks.astype(np.float64)),
    ):
        assert not diagnose(None, {"train": pair}).findings


def test_it_is_found_where_it_is_promised():
    assert seglab.diagnose is diagnose
    assert "diagnose" in dir(seglab)


def test_a_diagnosis_is_ranked_printed_and_given_as_json():
    findings = [
        Finding("note", "classes", "a is <rare>", "weigh it"),
        Finding("error", "labels", "255", "set 255 to 1"),
        Finding("warning", "images", "one value", "look"),
    ]
    diagnosis = Diagnosis.of(findings, ("labels", "images", "classes"))
    assert [f.severity for f in diagnosis] == ["error", "warning", "note"]
    assert diagnosis.worst == "error"
    assert "1. error (labels): 255\n   Fix: set 255 to 1\n2. warning" in str(diagnosis)
    assert "&lt;rare&gt;" in diagnosis._repr_html_()
    assert (
        json.loads(json.dumps(diagnosis.to_dict()))["findings"][0]["check"] == "labels"
    )
    assert "Nothing found" in Diagnosis.of([], ("labels",))._repr_html_()
    with pytest.raises(ValueError, match="'mask'; the checks that ran are labels, "):
        diagnosis.of_check("mask")

"""Every mistake is said before the training starts."""

import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest

from seglab.data import Augment
from seglab.models import unet
from seglab.training import evaluate, fit
from seglab.training.checks import check_counts, check_logits, check_model


def run(model, dataset, **options):
    return fit(model, dataset, **{"epochs": 1, "progress": False} | options)


def test_wrong_number_of_classes(make_model, dataset):
    with pytest.raises(ValueError, match=r"scores 3 classes.*2 \(dark, bright\)"):
        run(make_model(3), dataset)
    with pytest.raises(ValueError, match="num_classes=2; one channel with a sigmoid"):
        evaluate(make_model(1), dataset.test)


def test_wrong_image_shape(make_model, dataset):
    with pytest.raises(ValueError, match="takes images of shape 16 x 8 x 1"):
        run(make_model(shape=(16, 8, 1)), dataset)
    with pytest.raises(ValueError, match="takes images of shape any x any x 3"):
        run(make_model(shape=(None, None, 3)), dataset)


def test_an_any_size_network_says_which_sizes_it_takes(dataset):
    with pytest.raises(ValueError, match="takes 16, 32, 48"):
        run(unet((None, None, 1), 2, width=1), dataset)


def test_outputs_that_are_no_label_maps(dataset):
    image = keras.Input((8, 8, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    with pytest.raises(ValueError, match="one score for each class at each pixel"):
        check_model(keras.Model(image, pooled), dataset.train)
    larger = keras.layers.Conv2DTranspose(2, 2, strides=2)(image)
    with pytest.raises(ValueError, match="16 x 16, is larger than the images, 8 x 8"):
        check_model(keras.Model(image, larger), dataset.train)
    with pytest.raises(ValueError, match="several inputs or outputs"):
        check_model(keras.Model(image, [larger, pooled]), dataset.train)
    vector = keras.Input((8,))
    with pytest.raises(ValueError, match="takes images of shape 8,"):
        check_model(keras.Model(vector, vector), dataset.train)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "relu"])
def test_an_activation_at_the_end_is_warned_of(make_model, activation):
    with pytest.warns(UserWarning, match=f"applies {activation}; fit's loss wants"):
        check_logits(make_model(activation=activation))
    image = keras.Input((8, 8, 1))
    layer = {
        "softmax": keras.layers.Softmax(),
        "relu": keras.layers.ReLU(),
        "sigmoid": keras.layers.Activation("sigmoid"),
    }[activation]
    with pytest.warns(UserWarning, match=f"applies {activation}"):
        check_logits(keras.Model(image, layer(keras.layers.Conv2D(2, 1)(image))))


def test_logits_are_not_warned_of(make_model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_logits(make_model())
        check_logits(unet((16, 16, 1), 2, width=1, depth=1))


@pytest.mark.parametrize("name", ["train", "val"])
def test_empty_and_fully_ignored_splits(make_model, dataset, name):
    empty = replace(dataset, **{name: getattr(dataset, name)[:0]})
    with pytest.raises(ValueError, match=f"no images in its {name} split"):
        run(make_model(), empty)
    splits = {
        key: replace(split, ignore_index=255) for key, split in dataset.splits().items()
    }
    ignored = np.full_like(splits[name].masks, 255)
    splits[name] = replace(splits[name], masks=ignored)
    with pytest.raises(ValueError, match=f"all pixels of noise's {name} split"):
        run(make_model(), replace(dataset, **splits))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"progress": "bar"}, "progress is 'bar'"),
        ({"mixed_precision": "half"}, "mixed_precision is 'half'"),
        ({"augment": lambda x, y, rng: x}, "must return a tuple"),
        ({"augment": lambda x, y, rng: (x[:, :4], y)}, r"images of shape \(1, 4, 8"),
        ({"augment": lambda x, y, rng: (x, y[:, :4])}, r"masks of shape \(1, 4, 8\)"),
        ({"augment": lambda x, y, rng: (x, 2 * y)}, r"invented labels.*\[2\]"),
    ],
)
def test_bad_arguments(make_model, dataset, options, message):
    with pytest.raises(ValueError, match=message):
        run(make_model(), dataset, **options)


def test_good_augmentations_pass(dataset):
    from seglab.training.checks import check_augment

    check_augment(Augment(elastic=0.02), dataset.train)
    ignoring = replace(dataset.train, ignore_index=255)
    check_augment(lambda x, y, rng: (x, np.where(x[..., 0] > 0.5, 255, y)), ignoring)


def test_a_loss_must_ignore_what_the_metrics_ignore(make_model, dataset):
    """By the attribute that it has, whoever wrote it."""

    class Mine(keras.losses.SparseCategoricalCrossentropy):
        ignore_index = 7

    with pytest.raises(
        ValueError, match=r"loss has ignore_index=7, and in noise .* None"
    ):
        run(make_model(), dataset, loss=Mine(from_logits=True))
    parts = {k: replace(v, ignore_index=255) for k, v in dataset.splits().items()}
    ignoring = replace(dataset, **parts)
    forgot = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match=r"has ignore_class=None, and in noise .* 255"):
        run(make_model(), ignoring, loss=forgot)
    right = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=255
    )
    run(make_model(), ignoring, loss=right)


def test_the_warning_points_to_the_call_of_fit(make_model, dataset):
    with pytest.warns(UserWarning, match="applies softmax") as caught:
        run(make_model(activation="softmax"), dataset)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "options", [{"batch_size": 16.0}, {"epochs": 3.0}, {"batch_size": "16"}]
)
def test_counts_are_integers(options):
    (name, value), *_ = options.items()
    with pytest.raises(ValueError, match=f"{name} is {value!r}; it must be an integer"):
        check_counts(**options)
    check_counts(**{name: np.int64(3)})

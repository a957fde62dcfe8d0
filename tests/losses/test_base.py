"""What holds for every loss: pixels that count, precision, saving, training."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from seglab import losses
from seglab.data import Dataset, Split
from seglab.training import fit

IGNORE = 255
ALL = {
    "cross_entropy": losses.CrossEntropy,
    "weighted": lambda **o: losses.CrossEntropy(class_weights=[1, 2, 3], **o),
    "focal": losses.Focal,
    "focal_half": lambda **o: losses.Focal(gamma=0.5, **o),
    "dice": losses.Dice,
    "dice_images": lambda **o: losses.Dice(per_image=True, **o),
    "tversky": lambda **o: losses.Tversky(0.3, 0.7, **o),
    "lovasz": losses.Lovasz,
    "lovasz_images": lambda **o: losses.Lovasz(per_image=True, **o),
    "boundary": losses.Boundary,
    "sum": lambda **o: losses.CrossEntropy(**o) + 0.5 * losses.Dice(**o),
}
every_loss = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


@pytest.mark.backends
@every_loss
def test_a_batch_with_nothing_to_learn_is_zero(make, batch, differentiate):
    masks, logits = batch(ignored=1)
    value, gradient = differentiate(make(ignore_index=IGNORE), masks, logits)
    assert value == 0
    assert not gradient.any()


@pytest.mark.backends
@every_loss
def test_what_is_predicted_at_ignored_pixels_does_not_matter(
    make, batch, differentiate
):
    masks, logits = batch((2, 5, 6), ignored=0.4)
    loss = make(ignore_index=IGNORE)
    value, gradient = differentiate(loss, masks, logits)
    assert np.isfinite(value) and value > 0
    assert not gradient[masks == IGNORE].any()
    assert gradient[masks != IGNORE].all()
    other = np.where((masks == IGNORE)[..., None], -7 * logits, logits)
    again, gradient_again = differentiate(loss, masks, other)
    # The same terms, but a sort may put equal ones (0 of ignored pixels) elsewhere.
    assert again == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(gradient_again, gradient, rtol=1e-5, atol=1e-8)


@settings(max_examples=12)
@given(
    st.sampled_from(sorted(set(ALL) - {"boundary"})),
    st.integers(0, 99),
    st.tuples(*[st.integers(1, 5)] * 3),
)
def test_ignored_pixels_are_as_good_as_cut_off(batch, name, seed, shape):
    """A border of ignored pixels, and another image of them, change nothing."""
    masks, logits = batch(shape, seed=seed, ignored=0.2)
    loss = ALL[name](ignore_index=IGNORE)
    border = ((0, 1), (2, 1), (0, 3))
    wide = np.pad(masks, border, constant_values=IGNORE)
    scores = np.random.default_rng(seed).normal(size=(*wide.shape, 3))
    n, i, j = shape
    scores[:n, 2 : 2 + i, :j] = logits
    # rel: float32 sums in another order.
    assert float(loss(wide, scores)) == pytest.approx(
        float(loss(masks, logits)), rel=1e-5, abs=1e-7
    )


@settings(max_examples=12)
@given(st.sampled_from(sorted(set(ALL) - {"weighted"})), st.integers(0, 99))
def test_numbers_of_classes_and_size_of_logits_mean_nothing(batch, name, seed):
    masks, logits = batch((2, 3, 5), seed=seed)
    loss = ALL[name](ignore_index=IGNORE)
    value = float(loss(masks, logits))
    # A constant added to all scores of a pixel leaves its probabilities.
    shift = np.random.default_rng(seed).normal(size=(2, 3, 5, 1)).astype(np.float32)
    assert float(loss(masks, logits + shift)) == pytest.approx(value, rel=1e-4)
    # Classes may be numbered otherwise,
    order = np.random.default_rng(seed).permutation(3)
    renamed = np.append(np.argsort(order), np.full(253, IGNORE))[masks]
    assert float(loss(renamed, logits[..., order])) == pytest.approx(value, rel=1e-5)
    # and images mirrored, and given in another order.
    turned = loss(masks[::-1, ::-1, ::-1], logits[::-1, ::-1, ::-1])
    assert float(turned) == pytest.approx(value, rel=1e-5)


@every_loss
def test_a_perfect_prediction_costs_nothing(make, differentiate):
    masks = np.array([[[0, 0, 0, 1], [0, 2, 1, 1]]] * 2)
    # exp(-30) is below float32's resolution at 1.
    logits = 30 * np.eye(3, dtype=np.float32)[masks]
    value, gradient = differentiate(make(), masks, logits)
    assert value == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@every_loss
@pytest.mark.parametrize("labels", [[0], [0, 2]])
def test_classes_may_be_absent(make, labels, differentiate):
    rng = np.random.default_rng(0)
    masks = rng.choice(labels, (2, 3, 3))
    logits = rng.normal(size=(2, 3, 3, 3)).astype(np.float32)
    value, gradient = differentiate(make(), masks, logits)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    if make is losses.Boundary:
        return  # an absent class has no boundary: the loss is for use in a sum
    # Moving probability to an absent class must not pay.
    tempted = logits.copy()
    tempted[..., 1] += 1
    assert differentiate(make(), masks, tempted)[0] >= value


@every_loss
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 1)])
def test_images_may_be_a_pixel_wide(make, shape, batch, differentiate):
    masks, logits = batch(shape)
    value, gradient = differentiate(make(ignore_index=IGNORE), masks, logits)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@every_loss
def test_large_scores_do_not_overflow(make, differentiate):
    masks = np.array([[[0, 1, 2, 0]]])
    # Two pixels are wrong with certainty, two right.
    logits = 1e4 * np.eye(3, dtype=np.float32)[np.array([[[0, 1, 0, 2]]])]
    value, gradient = differentiate(make(), masks, logits)
    assert 0 < value < np.inf
    assert np.isfinite(gradient).all()


@every_loss
def test_half_precision_is_summed_in_float32(make, differentiate):
    """72000 ones do not fit into float16, whose largest number is 65504."""
    masks = np.zeros((20, 60, 60), np.int32)
    masks[:, 1] = 1
    logits = np.zeros((20, 60, 60, 3), np.float16)
    logits[..., 1] = 1
    value, gradient = differentiate(make(), masks, logits)
    full, _ = differentiate(make(), masks, logits.astype(np.float32))
    assert value == full  # the very same numbers go in
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_keras_default_float_type_is_not_asked():
    keras.config.set_floatx("float16")
    try:
        loss = losses.Dice()
    finally:
        keras.config.set_floatx("float32")
    assert loss.dtype == "float32"


# Labels that are no class


@every_loss
@pytest.mark.parametrize("label", [3, -1, 0.5])
def test_a_label_that_is_no_class_is_not_passed_over(make, label, batch):
    masks, logits = batch()
    masks = masks.astype(np.float32)
    masks[0, 0, 0] = label
    loss = make(ignore_index=IGNORE)
    with pytest.raises(ValueError, match=f"y_true holds the label {label}.*255"):
        loss(masks, logits)
    assert np.isnan(float(loss(ops.convert_to_tensor(masks), logits)))


@pytest.mark.backends
@pytest.mark.parametrize("label", [3, -1])
def test_a_tensor_with_such_a_label_gives_nan(label, batch):
    masks, logits = batch()
    masks[0, 0, 0] = label
    for name in ("cross_entropy", "lovasz"):
        loss = ALL[name](ignore_index=IGNORE)
        assert np.isnan(float(loss(ops.convert_to_tensor(masks), logits)))


def test_a_forgotten_ignore_index_is_named(batch):
    with pytest.raises(ValueError, match=r"label 255; .* 0 to 2.*give ignore_index"):
        losses.Dice()(*batch())


@pytest.mark.parametrize(
    ("masks", "logits", "message"),
    [
        ((2, 4, 4), (2, 4, 4), r"y_pred has shape \(2, 4, 4\); it must be logits"),
        ((2, 4, 4), (2, 4, 4, 1), "single channel with a sigmoid"),
        ((2, 4, 4, 1), (2, 4, 4, 3), r"Take the last axis off: masks\[..., 0\]"),
        ((2, 4, 4, 3), (2, 4, 4, 3), "one-hot: masks.argmax"),
        ((2, 6, 6), (2, 4, 4, 3), "Cut the masks to the center"),
        ((3, 4, 4), (2, 4, 4, 3), r"masks of shape \(2, 4, 4\)"),
        ((0, 4, 4), (0, 4, 4, 3), "holds no pixel"),
    ],
)
def test_wrong_shapes_are_named(masks, logits, message):
    with pytest.raises(ValueError, match=message):
        losses.Dice()(np.zeros(masks, int), np.zeros(logits, np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.Dice(ignore_index=0.5), "ignore_index is 0.5"),
        (lambda: losses.CrossEntropy(class_weights=[1, -1]), "class_weights is"),
        (lambda: losses.CrossEntropy(class_weights=[0, 0]), "not all of them 0"),
        (lambda: losses.CrossEntropy(class_weights=[1, np.nan]), "class_weights is"),
        (lambda: losses.Focal(class_weights=0.25), "one number for each class"),
        (lambda: losses.Focal(gamma=-1), "gamma is -1"),
        (lambda: losses.Focal(gamma=np.nan), "gamma is nan"),
        (lambda: losses.Tversky(-1, 1), "fp_weight is -1"),
        (lambda: losses.Tversky(1, 0), "fn_weight is 0.*predicting nothing is best"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["dice", "tversky", "lovasz", "boundary", "sum"])
def test_weights_of_pixels_are_refused_where_they_mean_nothing(name, batch):
    masks, logits = batch(ignored=0)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        ALL[name]()(masks, logits, np.ones(len(masks)))


# Keras: saving, several devices, training


@every_loss
def test_a_loss_comes_back_from_its_configuration(make, batch):
    loss = make(ignore_index=IGNORE)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert again.ignore_index == IGNORE
    masks, logits = batch()
    assert float(again(masks, logits)) == float(loss(masks, logits))


def one_convolution(size=(8, 8), classes=2):
    image = keras.Input((*size, 1))
    hidden = keras.layers.Conv2D(4, 1, activation="tanh")(image)
    return keras.Model(image, keras.layers.Conv2D(classes, 1)(hidden))


@pytest.mark.parametrize("name", ["weighted", "sum"])
def test_a_compiled_model_saves_and_loads(name, batch, tmp_path):
    masks, _ = batch((2, 8, 8))
    images = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    model = one_convolution(classes=3)
    model.compile("sgd", ALL[name](ignore_index=IGNORE))
    before = model.evaluate(images, masks, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == model.loss.get_config()
    assert loaded.evaluate(images, masks, verbose=0) == pytest.approx(before, rel=1e-6)


def test_replicas_share_the_loss(batch, monkeypatch):
    """Distributed gradients are added: as Keras's own, a loss is divided by them."""
    tf = pytest.importorskip("tensorflow")
    masks, logits = batch(ignored=0)
    loss = losses.Dice()
    alone = float(loss(masks, logits))

    class TwoReplicas:
        num_replicas_in_sync = 2

    monkeypatch.setattr(tf.distribute, "get_strategy", TwoReplicas)
    assert float(loss(masks, logits)) == pytest.approx(alone / 2)


@pytest.fixture(scope="module")
def bright():
    """Blobs brighter than the rest; a band of each mask is not annotated."""
    rng = np.random.default_rng(0)

    def split(n):
        masks = np.zeros((n, 8, 8), np.int32)
        for mask in masks:
            i, j = rng.integers(0, 5, 2)
            mask[i : i + 4, j : j + 4] = 1
        images = masks[..., None] * 0.4 + 0.5 * rng.random((n, 8, 8, 1))
        masks[:, 0] = IGNORE
        images[:, 0] = 1
        names = ("dark", "bright")
        return Split(images.astype(np.float32), masks, names, ignore_index=IGNORE)

    return Dataset("blobs", split(20), split(8), split(4))


TRAINED = {
    "dice": losses.Dice,
    "lovasz": lambda **o: losses.Lovasz(per_image=True, **o),
    "sum": lambda **o: losses.CrossEntropy(**o) + 0.05 * losses.Boundary(**o),
}


@pytest.mark.backends
@pytest.mark.parametrize("make", TRAINED.values(), ids=TRAINED)
def test_fit_learns_by_it(make, bright):
    keras.utils.set_random_seed(0)
    history = fit(
        one_convolution(),
        bright,
        epochs=4,
        batch_size=5,
        learning_rate=0.1,
        loss=make(ignore_index=IGNORE),
        progress=False,
    )
    assert history.loss[-1] < history.loss[0]
    assert history.mean_iou.max() > 0.75


def test_fit_does_not_train_on_labels_that_the_loss_does_not_know(bright):
    with pytest.raises(ValueError, match="ignore_index=None"):
        fit(one_convolution(), bright, epochs=1, loss=losses.Dice(), progress=False)

"""Losses: seglab's against those of PyTorch, Keras, SMP and MONAI.

Where the truth of the batch has every class, the definitions of most libraries are the
same. They part at classes that are absent.
"""

import keras
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss as MonaiDice
from monai.losses import FocalLoss as MonaiFocal
from monai.losses import TverskyLoss as MonaiTversky

from seglab.losses import CrossEntropy, Dice, Focal, Lovasz, Tversky

IGNORE = 255
FLOAT32 = {"rel": 1e-4, "abs": 1e-5}
"""Sums of some hundred terms in float32, and the libraries' epsilons."""


def draw_batch(seed, *, absent=False, ignored=False, everywhere=False, C=3):
    """Masks (N, H, W) and logits (N, H, W, C); unless `absent`, with every class.

    With `everywhere`, each image has every class.
    """
    rng = np.random.default_rng(seed)
    used = C - 1 if absent else C
    masks = rng.integers(0, used, (2, 4, 5))
    if ignored:
        masks[rng.random(masks.shape) < 0.3] = IGNORE
    masks[0, 0, :used] = np.arange(used)
    if everywhere:
        masks[1, 3, :used] = np.arange(used)
    return masks, (2 * rng.normal(size=(*masks.shape, C))).astype("float32")


def tensors(masks, logits):
    """Logits (N, C, H, W) and masks (N, H, W), in the order that PyTorch wants."""
    return torch.as_tensor(np.moveaxis(logits, -1, 1).copy()), torch.as_tensor(masks)


def channels(masks, logits):
    """The same with masks (N, 1, H, W), for MONAI."""
    scores, labels = tensors(masks, logits)
    return scores, labels[:, None]


batches = settings(max_examples=25)
seeds = st.integers(0, 10_000)
MONAI = {"softmax": True, "to_onehot_y": True}
NO_EPSILON = {"smooth_nr": 0, "smooth_dr": 1e-9}


# Cross-entropy


@batches
@given(seeds)
def test_cross_entropy_is_pytorchs_and_keras(seed):
    masks, logits = draw_batch(seed, ignored=True)
    ours = float(CrossEntropy(ignore_index=IGNORE)(masks, logits))
    torchs = torch.nn.functional.cross_entropy(
        *tensors(masks, logits), ignore_index=IGNORE
    )
    assert float(torchs) == pytest.approx(ours, **FLOAT32)
    theirs = keras.losses.SparseCategoricalCrossentropy(True, IGNORE)
    assert float(theirs(masks, logits)) == pytest.approx(ours, **FLOAT32)
    weights = [0.2, 1.0, 3.0]
    ours = float(
        CrossEntropy(ignore_index=IGNORE, class_weights=weights)(masks, logits)
    )
    torchs = torch.nn.functional.cross_entropy(
        *tensors(masks, logits), torch.tensor(weights), ignore_index=IGNORE
    )
    assert float(torchs) == pytest.approx(ours, **FLOAT32)


def test_everything_ignored(differs):
    masks, logits = draw_batch(0)
    masks[:] = IGNORE
    ours = float(CrossEntropy(ignore_index=IGNORE)(masks, logits))
    assert ours == 0
    theirs = keras.losses.SparseCategoricalCrossentropy(True, IGNORE)
    assert float(theirs(masks, logits)) == 0
    torchs = torch.nn.functional.cross_entropy(
        *tensors(masks, logits), ignore_index=IGNORE
    )
    why = "0/0, and so NaN in every weight; seglab's and Keras's loss is 0"
    differs("cross-entropy, all ignored", "PyTorch", torchs, ours, why)


# Dice and Tversky


@batches
@given(seeds)
def test_dice_of_a_batch_with_every_class(seed):
    masks, logits = draw_batch(seed)
    ours = pytest.approx(float(Dice()(masks, logits)), **FLOAT32)
    assert float(smp.losses.DiceLoss("multiclass")(*tensors(masks, logits))) == ours
    monai = MonaiDice(batch=True, **MONAI, **NO_EPSILON)
    assert float(monai(*channels(masks, logits))) == ours
    # With an ignore label, SMP.
    masks, logits = draw_batch(seed, ignored=True)
    ours = float(Dice(ignore_index=IGNORE)(masks, logits))
    theirs = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)
    assert float(theirs(*tensors(masks, logits))) == pytest.approx(ours, **FLOAT32)


@batches
@given(seeds)
def test_dice_of_images_with_every_class(seed):
    masks, logits = draw_batch(seed, everywhere=True)
    ours = pytest.approx(float(Dice(per_image=True)(masks, logits)), **FLOAT32)
    assert float(MonaiDice(**MONAI, **NO_EPSILON)(*channels(masks, logits))) == ours


@batches
@given(seeds, st.sampled_from([(0.3, 0.7), (0.5, 0.5), (0.8, 0.2)]))
def test_tversky_weighs_false_positives_first_in_every_library(seed, weights):
    masks, logits = draw_batch(seed)
    fp, fn = weights
    ours = pytest.approx(float(Tversky(fp, fn)(masks, logits)), **FLOAT32)
    theirs = smp.losses.TverskyLoss("multiclass", alpha=fp, beta=fn)
    assert float(theirs(*tensors(masks, logits))) == ours
    monai = MonaiTversky(alpha=fp, beta=fn, batch=True, **MONAI, **NO_EPSILON)
    assert float(monai(*channels(masks, logits))) == ours
    # Keras throws all classes together, with the same meaning of the weights.
    p = np.asarray(keras.ops.softmax(logits, axis=-1))
    t = np.eye(3, dtype="float32")[masks]
    hit = (p * t).sum()
    pooled = 1 - hit / (hit + fp * (p * (1 - t)).sum() + fn * ((1 - p) * t).sum())
    theirs = keras.losses.Tversky(alpha=fp, beta=fn)(t, p)
    assert float(theirs) == pytest.approx(pooled, **FLOAT32)


def test_an_absent_class(differs):
    masks, logits = draw_batch(1, absent=True)
    case = "Dice, class 2 of 3 is absent"
    ours = float(Dice()(masks, logits))
    theirs = float(smp.losses.DiceLoss("multiclass")(*tensors(masks, logits)))
    assert theirs == pytest.approx(ours * 2 / 3, **FLOAT32)
    why = "sets the class to 0, and divides by 3 all the same"
    differs(case, "SMP", theirs, ours, why)
    theirs = MonaiDice(batch=True, **MONAI)(*channels(masks, logits))
    why = "counts the class: nearly 1, whatever is predicted"
    differs(case, "MONAI, batch=True", theirs, ours, why)
    p = np.asarray(keras.ops.softmax(logits, axis=-1))
    t = np.eye(3, dtype="float32")[masks]
    why = "throws all classes together before it divides (axis=None)"
    differs(case, "Keras", keras.losses.Dice()(t, p), ours, why)


def test_a_class_absent_from_one_image(differs):
    masks, logits = draw_batch(1)
    masks[1] = 0
    ours = float(Dice(per_image=True)(masks, logits))
    theirs = MonaiDice(**MONAI)(*channels(masks, logits))
    case = "Dice, image 1 has class 0 alone"
    why = "averages over all classes of all images, absent or not"
    differs(case, "MONAI, default", theirs, ours, why)


def test_nothing_true_and_nothing_predicted(differs):
    """Of one channel: a model that rightly says that there is nothing."""
    nothing = np.zeros((1, 4, 4, 1), "float32")
    theirs = keras.losses.Dice()(nothing, nothing)
    assert float(
        MonaiDice()(*map(torch.as_tensor, [nothing, nothing]))
    ) == pytest.approx(0, abs=1e-6)
    masks = np.zeros((1, 4, 4), int)
    sure = np.float32([20, -20]) * np.ones((1, 4, 4, 1), "float32")
    ours = float(Dice()(masks, sure))
    why = "epsilon is in the denominator alone: right is punished in full"
    differs("Dice, no object, none predicted", "Keras", theirs, ours, why)


# Focal


@batches
@given(seeds, st.sampled_from([0, 0.5, 2]))
def test_focal_up_to_a_factor(seed, gamma):
    masks, logits = draw_batch(seed)
    ours = float(Focal(gamma)(masks, logits))
    monai = MonaiFocal(use_softmax=True, to_onehot_y=True, gamma=gamma)
    theirs = float(monai(*channels(masks, logits)))
    assert 3 * theirs == pytest.approx(ours, **FLOAT32)  # it averages over channels too
    focal = keras.losses.CategoricalFocalCrossentropy(
        alpha=0.25, gamma=gamma, from_logits=True
    )
    theirs = float(focal(np.eye(3, dtype="float32")[masks], logits))
    # Keras keeps probabilities 1e-7 away from 0 and 1.
    assert theirs / 0.25 == pytest.approx(ours, rel=1e-3, abs=1e-5)


def test_factors_of_focal(differs):
    masks, logits = draw_batch(0)
    ours = float(Focal()(masks, logits))
    case, one_hot = "focal loss, 3 classes", np.eye(3, dtype="float32")[masks]
    theirs = MonaiFocal(use_softmax=True, to_onehot_y=True)(*channels(masks, logits))
    why = "averages over classes too: a third of the mean over pixels"
    differs(case, "MONAI, use_softmax=True", theirs, ours, why)
    theirs = keras.losses.CategoricalFocalCrossentropy(from_logits=True)(
        one_hot, logits
    )
    why = "its alpha, 0.25, multiplies every class: a quarter"
    differs(case, "Keras", theirs, ours, why)
    theirs = smp.losses.FocalLoss("multiclass")(*tensors(masks, logits))
    why = "one sigmoid for each class against the rest"
    differs(case, "SMP", theirs, ours, why)


# Lovász


@batches
@given(seeds, st.booleans(), st.booleans(), st.booleans())
def test_lovasz_is_smps(seed, absent, ignored, per_image):
    masks, logits = draw_batch(seed, absent=absent, ignored=ignored)
    ours = Lovasz(ignore_index=IGNORE, per_image=per_image)(masks, logits)
    theirs = smp.losses.LovaszLoss("multiclass", per_image, ignore_index=IGNORE)
    assert float(theirs(*tensors(masks, logits))) == pytest.approx(
        float(ours), **FLOAT32
    )


def test_lovasz_takes_probabilities_for_logits(differs):
    masks, logits = draw_batch(0)
    scores, labels = tensors(masks, logits)
    theirs = smp.losses.LovaszLoss("multiclass", from_logits=False)
    why = "ignores from_logits=False: softmax of a softmax"
    given_p = theirs(scores.softmax(dim=1), labels)
    ours = float(Lovasz()(masks, logits))
    differs("Lovász, given probabilities", "SMP", given_p, ours, why)

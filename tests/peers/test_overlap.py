"""Overlap: each rule of `seglab.metrics.conventions` against its library.

Random label maps, in which classes are often absent from an image, from the truth, or
from both; then named cases where the libraries disagree.
"""

import ast
import importlib.metadata
import importlib.util
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import MeanIoU as MonaiMeanIoU
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from sklearn.metrics import jaccard_score
from torchmetrics.functional.segmentation import mean_iou as torchmetrics_function
from torchmetrics.segmentation import MeanIoU as TorchmetricsMeanIoU

from seglab.metrics import confusion_matrix, conventions, iou, mean_iou

IGNORE = 255
FLOAT32 = {"rtol": 1e-5, "atol": 1e-6, "equal_nan": True}
"""What libraries lose in float32, and Keras to the 1e-7 it adds to denominators."""


def stack_of(truth, prediction, num_classes, ignore_index=None):
    return confusion_matrix(
        truth, prediction, num_classes, ignore_index, per_image=True
    )


# The libraries, each asked for its mean IoU of label maps (N, H, W)


def one_hot(labels, num_classes):
    hot = torch.nn.functional.one_hot(torch.as_tensor(labels), num_classes)
    return hot.movedim(-1, 1)  # (N, C, H, W)


def ask_keras(truth, prediction, num_classes, ignore_index=None):
    metric = keras.metrics.MeanIoU(num_classes, ignore_class=ignore_index)
    for t, p in zip(truth, prediction, strict=True):  # as from batches of one image
        metric.update_state(t, p)
    return float(metric.result())


def ask_jaccard(truth, prediction, num_classes, ignore_index=None):
    metric = torchmetrics.JaccardIndex(
        task="multiclass", num_classes=num_classes, ignore_index=ignore_index
    )
    metric.update(torch.as_tensor(prediction), torch.as_tensor(truth))
    return float(metric.compute())


def ask_torchmetrics(truth, prediction, num_classes):
    metric = TorchmetricsMeanIoU(num_classes, input_format="index")
    for t, p in zip(truth, prediction, strict=True):
        metric.update(torch.as_tensor(p[None]), torch.as_tensor(t[None]))
    return float(metric.compute())


def ask_smp(truth, prediction, num_classes, ignore_index=None, **options):
    counts = smp.metrics.get_stats(
        torch.as_tensor(prediction),
        torch.as_tensor(truth),
        mode="multiclass",
        num_classes=num_classes,
        ignore_index=ignore_index,
    )
    return float(smp.metrics.iou_score(*counts, **options))


def ask_monai(truth, prediction, num_classes, reduction="mean"):
    metric = MonaiMeanIoU(reduction=reduction)
    metric(y_pred=one_hot(prediction, num_classes), y=one_hot(truth, num_classes))
    return metric.aggregate().numpy().squeeze()


def functions_of(package, file, *names, **namespace):
    """Run functions out of a file of a package whose requirements are not here."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    tree = ast.parse((Path(spec.origin).parent / file).read_text())
    wanted = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in names
    ]
    for node in wanted:
        node.decorator_list, node.returns = [], None
        for argument in node.args.args:
            argument.annotation = None
    exec(compile(ast.Module(wanted, []), file, "exec"), namespace)
    return [namespace[name] for name in names]


def ask_mmseg(truth, prediction, num_classes, ignore_index=IGNORE):
    areas, rates = functions_of(
        "mmseg",
        "evaluation/metrics/iou_metric.py",
        *("intersect_and_union", "total_area_to_metrics"),
        **{"torch": torch, "np": np, "OrderedDict": dict},
    )
    found = [
        areas(torch.as_tensor(p), torch.as_tensor(t), num_classes, ignore_index)
        for t, p in zip(truth, prediction, strict=True)
    ]
    totals = [sum(columns) for columns in zip(*found, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing
        return float(np.nanmean(rates(*totals)["IoU"]))


def ask_nnunet(truth, prediction, num_classes, ignore_index=None):
    names = ("region_or_label_to_mask", "compute_tp_fp_fn_tn", "compute_metrics")
    *_, compute = functions_of(
        "nnunetv2", "evaluation/evaluate_predictions.py", *names, np=np
    )

    class Reader:
        def read_seg(self, labels):  # "files" are arrays
            return labels, {}

    classes = list(range(num_classes))
    cases = [
        compute(t, p, Reader(), classes, ignore_index)["metrics"]
        for t, p in zip(truth, prediction, strict=True)
    ]
    # As in compute_metrics_on_folder, which reads the cases from a folder.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        means = [np.nanmean([case[k]["IoU"] for case in cases]) for k in classes]
    return float(np.mean(means[1:]))


# Every rule is the library's


@st.composite
def label_maps(draw, ignored=False):
    """Images (N, H, W) of up to four classes, of which some are absent somewhere."""
    num_classes = draw(st.integers(2, 4))
    shape = draw(st.tuples(*(st.integers(1, n) for n in (3, 4, 4))))
    labels = st.integers(0, draw(st.integers(0, num_classes - 1)))
    truth = draw(arrays(np.int64, shape, elements=labels))
    other = draw(arrays(np.int64, shape, elements=labels))
    agree = draw(arrays(bool, shape))
    prediction = np.where(agree, truth, other)
    if ignored:
        truth = np.where(draw(arrays(bool, shape)), IGNORE, truth)
    return truth, prediction, num_classes


random_maps = given(label_maps())
random_maps_with_void = given(label_maps(ignored=True))
often = settings(max_examples=60)


@pytest.mark.parametrize("ignored", [False, True])
@settings(max_examples=30)
@given(st.data())
def test_keras(ignored, data):
    truth, prediction, C = data.draw(label_maps(ignored=ignored))
    ignore = IGNORE if ignored else None
    expected = ask_keras(truth, prediction, C, ignore)
    got = conventions.keras_mean_iou(stack_of(truth, prediction, C, ignore))
    np.testing.assert_allclose(got, expected, **FLOAT32)


@pytest.mark.parametrize("ignored", [False, True])
@often
@given(st.data())
def test_torchmetrics_jaccard(ignored, data):
    truth, prediction, C = data.draw(label_maps(ignored=ignored))
    ignore = IGNORE if ignored else None
    expected = ask_jaccard(truth, prediction, C, ignore)
    got = conventions.pooled_mean_iou(stack_of(truth, prediction, C, ignore))
    np.testing.assert_allclose(got, expected, **FLOAT32)


@often
@random_maps
def test_torchmetrics_mean_iou(maps):
    expected = ask_torchmetrics(*maps)
    got = conventions.torchmetrics_mean_iou(stack_of(*maps))
    np.testing.assert_allclose(got, expected, **FLOAT32)


@pytest.mark.parametrize("ignored", [False, True])
@often
@given(st.data())
def test_segmentation_models_pytorch(ignored, data):
    truth, prediction, C = data.draw(label_maps(ignored=ignored))
    ignore = IGNORE if ignored else None
    stack = stack_of(truth, prediction, C, ignore)
    for reduction in ("micro", "macro", "micro-imagewise", "macro-imagewise"):
        expected = ask_smp(truth, prediction, C, ignore, reduction=reduction)
        got = conventions.smp_iou(stack, reduction)
        np.testing.assert_allclose(got, expected, err_msg=reduction, **FLOAT32)


@often
@random_maps
def test_monai(maps):
    stack = stack_of(*maps)
    for reduction in ("mean", "mean_batch"):
        expected = ask_monai(*maps, reduction)
        got = conventions.monai_iou(stack, reduction)
        np.testing.assert_allclose(got, expected, err_msg=reduction, **FLOAT32)


@often
@random_maps_with_void
def test_mmsegmentation(maps):
    got = conventions.pooled_mean_iou(stack_of(*maps, IGNORE))
    np.testing.assert_allclose(got, ask_mmseg(*maps), **FLOAT32)


@often
@random_maps_with_void
def test_nnunet(maps):
    got = conventions.nnunet_iou(stack_of(*maps, IGNORE))
    np.testing.assert_allclose(got, ask_nnunet(*maps, IGNORE), rtol=1e-12)


@often
@random_maps
def test_scikit_learn(maps):
    truth, prediction, C = maps
    flat = truth.ravel(), prediction.ravel()
    got = conventions.pooled_mean_iou(stack_of(*maps))
    expected = jaccard_score(*flat, average="macro", zero_division=0)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    theirs = sklearn_confusion_matrix(*flat, labels=range(C))
    np.testing.assert_array_equal(confusion_matrix(*maps), theirs)


def test_rules_name_the_versions_that_are_installed(versions):
    names = {
        "Keras": "keras",
        "MONAI": "monai",
        "mmsegmentation": "mmsegmentation",
        "nnU-Net": "nnunetv2",
    }
    for rule in conventions.RULES:
        library, version = rule.partition(",")[0].split()
        package = names.get(library, library)
        assert versions[package] == version, rule
    for package, version in versions.items():
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            assert package in ("mmsegmentation", "nnunetv2", "pycocotools"), package
            continue
        assert found.split("+")[0] == version, package


# Where they disagree


def perfect_with_absent_class():
    truth = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 0]]])
    return truth, truth.copy(), 3


def invented_class():
    truth = np.zeros((1, 2, 4), int)
    prediction = truth.copy()
    prediction[0, 0, :2] = 1
    return truth, prediction, 2


def one_pixel_missed():
    """The two images of `seglab.metrics.conventions`."""
    truth, prediction = np.zeros((2, 2, 4, 4), int)
    truth[0] = prediction[0] = 1
    prediction[0, 0, 0] = 0
    truth[1, 3, 3] = 1
    return truth, prediction, 2


IMAGES_FIRST = "divides in each image, then averages over images"


def test_one_data_set_many_numbers(differs):
    maps = one_pixel_missed()
    ours = mean_iou(stack_of(*maps).sum(axis=0))
    for name, value in {
        "Keras": ask_keras(*maps),
        "JaccardIndex": ask_jaccard(*maps),
        "SMP macro": ask_smp(*maps, reduction="macro"),
        "scikit-learn": jaccard_score(
            maps[0].ravel(), maps[1].ravel(), average="macro"
        ),
    }.items():
        assert value == pytest.approx(ours, abs=1e-6), name
    assert round(ours, 3) == 0.882
    case = "two images, a pixel missed in each"
    differs(case, "torchmetrics MeanIoU", ask_torchmetrics(*maps), ours, IMAGES_FIRST)
    imagewise = ask_smp(*maps, reduction="macro-imagewise")
    differs(case, "SMP macro-imagewise", imagewise, ours, IMAGES_FIRST)
    why = IMAGES_FIRST + ", over the classes that the truth has there"
    differs(case, "MONAI mean", ask_monai(*maps), ours, why)
    for k, value in enumerate(ask_monai(*maps, "mean_batch")):
        differs(case, f"MONAI mean_batch, class {k}", value, ours, why)
    binary = torchmetrics.JaccardIndex(task="binary")
    binary.update(torch.as_tensor(maps[1]), torch.as_tensor(maps[0]))
    assert float(binary.compute()) == pytest.approx(iou(confusion_matrix(*maps))[1])


def test_a_class_that_is_nowhere(differs):
    maps = perfect_with_absent_class()
    case = "perfect, class 2 of 3 is nowhere"
    matrix = confusion_matrix(*maps)
    assert mean_iou(matrix) == 1
    for ask in (ask_keras, ask_jaccard, ask_torchmetrics, ask_monai):
        assert float(ask(*maps)) == pytest.approx(1), ask.__name__
    assert ask_smp(*maps, reduction="macro") == 1
    theirs = ask_smp(*maps, reduction="macro", zero_division=0)
    why = "zero_division=0 counts the class as missed; the default, 1, as found"
    differs(case, "SMP macro, zero_division=0", theirs, 1, why)
    none = torchmetrics.JaccardIndex(task="multiclass", num_classes=3, average="none")
    none.update(torch.as_tensor(maps[1]), torch.as_tensor(maps[0]))
    why = 'average="none" shows an absent class as 0'
    differs(case, "JaccardIndex none, class 2", none.compute()[2], iou(matrix)[2], why)
    by_class = torchmetrics_function(
        *(torch.as_tensor(x) for x in maps[1::-1]), 3, True, True, "index"
    )
    why = "marks an absent class by -1; the mean over images must leave it out"
    differs(case, "torchmetrics mean_iou, class 2", by_class[0, 2], iou(matrix)[2], why)


def test_absent_classes_are_not_left_out_of_smps_mean(differs):
    truth, prediction, _ = invented_class()
    ours = mean_iou(confusion_matrix(truth, prediction, 10))
    theirs = ask_smp(truth, prediction, 10, reduction="macro")
    why = "8 classes that are nowhere count as perfect"
    differs("a class invented, 8 more nowhere", "SMP macro", theirs, ours, why)


def test_an_invented_class(differs):
    maps = invented_class()
    ours = mean_iou(confusion_matrix(*maps))
    for ask in (ask_keras, ask_jaccard, ask_torchmetrics):
        assert ask(*maps) == pytest.approx(ours, abs=1e-6), ask.__name__
    assert ask_smp(*maps, reduction="macro") == pytest.approx(ours)
    why = "leaves out classes that the truth lacks: inventing one costs nothing there"
    differs("a class is invented", "MONAI mean", ask_monai(*maps), ours, why)


def test_smp_divides_class_weights_twice(differs):
    truth = np.array([[[0, 0, 0, 1, 1]]])
    prediction = np.array([[[0, 0, 1, 1, 1]]])
    maps = truth, prediction, 2
    ours = mean_iou(confusion_matrix(*maps))
    assert ask_smp(*maps, reduction="macro") == pytest.approx(ours)
    assert ask_smp(*maps, reduction="weighted", class_weights=[1, 1]) == pytest.approx(
        ours
    )
    why = "normalizes the weights, then divides by the number of classes again"
    for reduction in ("macro", "weighted-imagewise"):
        theirs = ask_smp(*maps, reduction=reduction, class_weights=[1, 1])
        assert theirs == pytest.approx(ours / 2)
        differs("weights of 1 and 1", f"SMP {reduction}", theirs, ours, why)


def test_labels_that_are_no_class(differs):
    """255 in the truth, and nobody said that it means "ignore"."""
    truth = np.array([[[0, 0, 1, 1, 255, 255]]])
    prediction = np.array([[[0, 0, 1, 1, 1, 1]]])
    with pytest.raises(ValueError, match="ignore_index=255"):
        confusion_matrix(truth, prediction, 2)
    case, nan = "255 in the truth, not declared", float("nan")
    theirs = ask_keras(truth, prediction, 2)
    differs(case, "Keras", theirs, nan, "drops the pixels; seglab raises an error")
    theirs = ask_smp(truth, prediction, 2, reduction="macro")
    why = "counts what is predicted there as false positives; seglab raises an error"
    differs(case, "SMP macro", theirs, nan, why)
    theirs = jaccard_score(truth.ravel(), prediction.ravel(), average="macro")
    why = "takes 255 for a class of its own; seglab raises an error"
    differs(case, "scikit-learn", theirs, nan, why)
    with pytest.raises(RuntimeError):
        ask_jaccard(truth, prediction, 2)


def test_probabilities_for_labels(differs):
    from seglab.metrics import MeanIoU

    truth = np.ones((1, 4, 4), "int32")
    probabilities = np.full((1, 4, 4), 0.9, "float32")
    theirs = keras.metrics.MeanIoU(2)
    theirs.update_state(truth, probabilities)
    ours = MeanIoU(2, threshold=0.5)
    ours.update_state(truth, probabilities)
    why = "cuts 0.9 off to label 0; seglab's metric asks for a threshold"
    case = "truth 1 everywhere, probability 0.9"
    differs(case, "Keras", theirs.result(), ours.result(), why)
    with pytest.raises(ValueError, match="threshold"):
        MeanIoU(2).update_state(truth, probabilities)

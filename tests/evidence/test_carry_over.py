"""The main effects on real images: what is trained on, and that an arm trains."""

from dataclasses import replace

import numpy as np
import pytest

from seglab import data
from seglab.evidence import catalog
from seglab.evidence.catalog import carry_over
from seglab.evidence.catalog.knobs import RATES, RATES_OF_MOMENTUM
from seglab.evidence.runner import measure_cell


@pytest.fixture
def drawn(pretend):
    """Drawn images under the names of the real sets; bright parts are outlines."""

    def relabel(name, split):
        if name != "pets":
            return split
        return replace(
            split,
            masks=split.masks + (split.masks * split.images[..., 0] > 0.6),
            classes=("background", "pet", "boundary"),
            instances=None,
        )

    return pretend(relabel, epochs=2)


def test_windows_lie_in_the_middle_and_of_a_road_at_the_bottom(drawn):
    whole = drawn("nuclei").train
    np.testing.assert_array_equal(
        carry_over.part(whole, 2, "nuclei").masks, whole.masks[[0, -1], 8:56, 8:56]
    )
    np.testing.assert_array_equal(
        carry_over.part(whole, 2, "road").images, whole.images[[0, -1], 16:, 8:56]
    )


def test_the_outline_of_a_pet_belongs_to_it(drawn):
    outlined = drawn("pets", size=carry_over.SIDE).train
    found = carry_over.load("pets").train
    assert found.classes == ("background", "pet")
    assert (outlined.masks == 2).any()
    for image in (0, -1):
        np.testing.assert_array_equal(
            found.masks[image], outlined.masks[image].clip(max=1)
        )


@pytest.mark.skipif(data.find("nuclei") is None, reason="needs nuclei")
def test_the_real_sets_have_the_classes_that_are_said():
    nuclei = carry_over.load("nuclei")
    assert nuclei.classes == ("background", "nucleus", "boundary")
    assert nuclei.image_shape == (48, 48, 1)
    shares = nuclei.train.class_shares()
    assert shares.argmin() == 2
    brightest = nuclei.train.images.max(axis=(1, 2, 3))
    assert np.mean(brightest > 0.4) > 0.95  # stretched: most were dark


def test_each_set_has_its_arms_and_each_arm_its_rates():
    rates = {}
    for cell in catalog.get("carry-over").cells():
        rates.setdefault((cell["data"], cell["arm"]), set()).add(cell["rate"])
    assert set(rates) == {(d, a) for d, arms in carry_over.USED.items() for a in arms}
    for (name, arm), found in rates.items():
        expected = set(RATES_OF_MOMENTUM if arm == "momentum" else RATES)
        extra = {carry_over.TOO_HIGH} if arm == "none" else set()
        assert found == expected | extra, (name, arm)


@pytest.mark.slow
@pytest.mark.parametrize("arm", carry_over.ARMS)
def test_an_arm_is_measured(drawn, arm):
    cell = {"data": "nuclei", "arm": arm, "rate": 0.01, "seed": 0}
    _, row = measure_cell(catalog.get("carry-over"), cell)
    assert isinstance(row, dict), row.message
    assert len(row["curve"]) == 3
    assert row["val_iou"] == max(row["curve"])
    assert 0 <= row["rarest_iou"] <= 1


@pytest.mark.slow
def test_a_training_repeats_itself(drawn):
    """Also augmented, and with dropout, after another one with the same network."""
    found = [
        carry_over.train("pets", 0.01, seed, augment=True, dropout=0.5)
        for seed in (0, 1, 0)
    ]
    assert found[0].curve == found[2].curve
    assert found[0].losses == found[2].losses != found[1].losses

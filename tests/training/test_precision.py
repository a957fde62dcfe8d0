"""How a step is compiled. What it computes is tested with `fit`."""

import keras
import pytest

from seglab import device
from seglab.training import find_learning_rate, fit, fit_reconstruction


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about its tracing")
@pytest.mark.filterwarnings("ignore:the loss was lowest at the end")
@pytest.mark.parametrize("train", [fit, fit_reconstruction, find_learning_rate])
def test_a_step_is_traced_once(train, dataset, make_model, monkeypatch):
    channels = 1 if train is fit_reconstruction else 2
    model = make_model(channels)
    traced = []
    step = keras.Model.train_step

    def count(self, data):
        traced.append(1)
        return step(self, data)

    monkeypatch.setattr(keras.Model, "train_step", count)
    options = {"steps": 3} if train is find_learning_rate else {"epochs": 2}
    train(model, dataset, progress=False, **options)
    assert len(traced) == 1


def test_a_reconstruction_is_compiled_with_xla_where_it_pays(dataset, make_model):
    model = make_model(1)
    fit_reconstruction(model, dataset, epochs=1, progress=False)
    assert model.jit_compile == device.accelerator().jit_compile  # False on a CPU

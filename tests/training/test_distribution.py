"""Two devices, and two hosts, train as one does: on virtual devices of this machine."""

import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext

import keras
import numpy as np
import pytest
from keras import ops

from seglab import data, device
from seglab.training import evaluate, fit
from seglab.training.hosts import HostShare

BACKEND = keras.backend.backend()
needs = {
    name: pytest.mark.skipif(name != BACKEND, reason=f"the backend is not {name}")
    for name in ("tensorflow", "jax", "torch")
}


def train(folder, devices=(), epochs=3):
    """Train on some devices; give what one may compare, as plain values.

    No devices: plainly, on the one there is. None: on all that there are.
    """
    cells = data.load("cells", count=14, size=16)

    def build():
        keras.utils.set_random_seed(0)
        image = keras.Input(cells.image_shape)
        # No bias before batch norm: its gradient is rounding, which Adam blows up.
        x = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)(image)
        if BACKEND == "jax":  # TensorFlow's is over each device's part
            x = keras.layers.BatchNormalization()(x)
        return keras.Model(image, keras.layers.Conv2D(2, 1)(keras.layers.ReLU()(x)))

    def run(model, epochs):
        options = {"batch_size": 4, "learning_rate": 0.01, "progress": "lines"}
        options |= {"checkpoint": folder, "log": folder / "log.csv"}
        return fit(model, cells, epochs=epochs, **options)

    if devices == ():
        model, count = build(), 1
        history = run(model, epochs)
    else:
        with device.distribute(devices) as count:
            run(build(), epochs - 1)
            model = build()
            history = run(model, epochs)  # goes on from the checkpoint
    return {
        "devices": count,
        "loss": history.loss,
        "val_loss": history.val_loss,
        "val_iou": history.val_iou.tolist(),
        "evaluated": evaluate(model, cells.val).iou.tolist(),
        "weights": [ops.convert_to_numpy(w).tolist() for w in model.weights],
    }


def in_another_process(folder, devices, before="", **environment):
    """Start `train` in a process of its own; what it prints last is JSON."""
    code = (
        f"{before}\n"
        "import json, pathlib, runpy, sys\n"
        "train = runpy.run_path(sys.argv[1])['train']\n"
        f"print(json.dumps(train(pathlib.Path(sys.argv[2]), {devices!r})))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, __file__, str(folder)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process):
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    *lines, last = output.splitlines()
    return lines, json.loads(last)


def assert_alike(one, other):
    # Sums over half a batch, twice, round differently: float32, a few steps.
    for what in ("loss", "val_loss", "val_iou", "evaluated"):
        np.testing.assert_allclose(one[what], other[what], rtol=1e-4, err_msg=what)
    for a, b in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
@needs["tensorflow"]
def test_two_devices_train_as_one_with_tensorflow(tmp_path):
    virtual = (
        "import tensorflow as tf\n"
        "cpu, one = tf.config.list_physical_devices('CPU')[0], "
        "tf.config.LogicalDeviceConfiguration()\n"
        "tf.config.set_logical_device_configuration(cpu, [one, one])\n"
    )
    two = in_another_process(tmp_path / "two", ["CPU:0", "CPU:1"], virtual)
    one = train(tmp_path / "one")
    _, two = result(two)
    assert two["devices"] == 2
    assert_alike(one, two)


@needs["jax"]
@pytest.mark.backends
def test_two_devices_train_as_one_with_jax(tmp_path):
    virtual = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    two = in_another_process(tmp_path / "two", None, **virtual)
    one = train(tmp_path / "one")
    _, two = result(two)
    assert two["devices"] == 2
    assert_alike(one, two)


@needs["jax"]
@pytest.mark.backends
@pytest.mark.slow
def test_two_hosts_train_as_one_with_jax(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    hosts = [
        in_another_process(
            tmp_path / "two",
            None,
            KERAS_DISTRIBUTION_JOB_ADDRESSES=address,
            KERAS_DISTRIBUTION_NUM_PROCESSES="2",
            KERAS_DISTRIBUTION_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]
    one = train(tmp_path / "one")
    (lines, first), (silence, second) = map(result, hosts)
    assert first["devices"] == second["devices"] == 2
    assert_alike(one, first)
    assert_alike(one, second)
    # One host speaks and writes.
    assert any(line.startswith("epoch 3/3") for line in lines)
    assert not any(line.startswith("epoch") for line in silence)
    assert len((tmp_path / "two" / "log.csv").read_text().splitlines()) == 4


def test_a_batch_that_cannot_be_shared_is_refused(dataset, make_model, monkeypatch):
    """With a stand-in for two devices."""
    monkeypatch.setattr(device, "shared_by", lambda model: nullcontext(2))
    with pytest.raises(ValueError, match=r"5 images, and 2 devices.*multiple of 2"):
        fit(make_model(), dataset, epochs=1, batch_size=5)


def test_hosts_share_the_rows_of_a_batch():
    class Whole(keras.utils.PyDataset):
        num_batches, epochs = 3, 0

        def on_epoch_begin(self):
            self.epochs += 1

        def __getitem__(self, index):
            return np.arange(6) + 10 * index, np.arange(6) + 100 * index

    whole = Whole()
    shares = [HostShare(whole, index, 3) for index in range(3)]
    for share in shares:
        assert share.num_batches == 3
        share.on_epoch_begin()
    assert whole.epochs == 3
    together = [
        np.concatenate(parts) for parts in zip(*(s[2] for s in shares), strict=True)
    ]
    for got, expected in zip(together, whole[2], strict=True):
        np.testing.assert_array_equal(got, expected)
    assert [len(share[0][0]) for share in shares] == [2, 2, 2]

"""What the machine is asked, with stand-ins for machines that are not here."""

import json
import os
import random
from contextlib import nullcontext
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from seglab import device
from seglab.device import Accelerator


@pytest.mark.backends
def test_accelerator_here():
    here = device.accelerator()
    assert here.backend == keras.backend.backend()
    assert here.kind in ("cpu", "gpu", "tpu", "mps")
    assert here.backend in str(here)
    if here.kind == "cpu":
        assert here.names == ()
        assert here.precision == "float32"
        assert here.jit_compile == (here.backend == "jax")


@pytest.mark.parametrize(
    ("kind", "capability", "precision"),
    [
        ("cpu", None, "float32"),
        ("mps", None, "float32"),
        ("tpu", None, "mixed_bfloat16"),
        ("gpu", None, "float32"),  # AMD, or a driver that does not say
        ("gpu", (6, 1), "float32"),  # Pascal: no tensor cores
        ("gpu", (7, 0), "mixed_float16"),  # V100
        ("gpu", (7, 5), "mixed_float16"),  # T4
        ("gpu", (8, 0), "mixed_bfloat16"),  # A100
        ("gpu", (9, 0), "mixed_bfloat16"),  # H100
        ("gpu", (10, 0), "mixed_bfloat16"),
    ],
)
def test_precision_follows_the_hardware(kind, capability, precision):
    assert Accelerator("tensorflow", kind, ("X",), capability).precision == precision


@pytest.mark.parametrize(
    ("backend", "kind", "compiles"),
    [
        ("tensorflow", "cpu", False),
        ("tensorflow", "gpu", True),
        ("jax", "cpu", True),
        ("jax", "gpu", True),
        ("torch", "gpu", False),
    ],
)
def test_compiling_where_it_pays(backend, kind, compiles):
    assert Accelerator(backend, kind).jit_compile is compiles


def test_accelerators_print_as_one_line():
    assert str(Accelerator("torch", "mps", ("Apple GPU",))) == (
        "1 MPS (Apple GPU) with torch"
    )
    two = Accelerator("jax", "gpu", ("NVIDIA T4", "NVIDIA T4"), (7, 5))
    assert str(two) == "2 GPUs (NVIDIA T4) with jax"
    assert str(Accelerator("jax", "cpu")).startswith("CPU, ")


def fake_tensorflow(devices):
    """TensorFlow's two questions, answered for {kind: [details]}."""
    config = SimpleNamespace(
        list_physical_devices=lambda kind: list(range(len(devices.get(kind, [])))),
        experimental=SimpleNamespace(
            get_device_details=lambda i: next(iter(devices.values()))[i]
        ),
    )
    return SimpleNamespace(config=config)


def test_tensorflow_is_understood():
    find = device._find_tensorflow
    assert find(fake_tensorflow({})) == Accelerator("tensorflow", "cpu")
    t4 = {"device_name": "Tesla T4", "compute_capability": (7, 5)}
    a100 = {"device_name": "A100", "compute_capability": (8, 0)}
    # The weaker of two GPUs decides.
    assert find(fake_tensorflow({"GPU": [a100, t4]})) == Accelerator(
        "tensorflow", "gpu", ("A100", "Tesla T4"), (7, 5)
    )
    assert find(fake_tensorflow({"GPU": [{}]})) == Accelerator(
        "tensorflow", "gpu", ("GPU",)
    )
    assert find(fake_tensorflow({"TPU": [{}]})).kind == "tpu"


@pytest.mark.parametrize(
    ("platform", "capability", "expected"),
    [
        ("cpu", None, Accelerator("jax", "cpu")),
        ("gpu", "8.0", Accelerator("jax", "gpu", ("X",), (8, 0))),
        ("cuda", "12.0", Accelerator("jax", "gpu", ("X",), (12, 0))),
        ("rocm", "gfx90a", Accelerator("jax", "gpu", ("X",))),
        ("tpu", None, Accelerator("jax", "tpu", ("X",))),
    ],
)
def test_jax_is_understood(platform, capability, expected):
    one = SimpleNamespace(platform=platform, device_kind="X")
    if capability:
        one.compute_capability = capability
    assert device._find_jax(SimpleNamespace(devices=lambda: [one])) == expected


@pytest.mark.parametrize(
    ("gpu", "hip", "mps", "expected"),
    [
        (False, None, False, Accelerator("torch", "cpu")),
        (False, None, True, Accelerator("torch", "mps", ("Apple GPU",))),
        (True, None, False, Accelerator("torch", "gpu", ("X",), (9, 0))),
        (True, "6.2", False, Accelerator("torch", "gpu", ("X",))),
    ],
)
def test_torch_is_understood(gpu, hip, mps, expected):
    torch = SimpleNamespace(
        cuda=SimpleNamespace(
            is_available=lambda: gpu,
            device_count=lambda: 1,
            get_device_name=lambda i: "X",
            get_device_capability=lambda i: (9, 0),
        ),
        version=SimpleNamespace(hip=hip),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )
    assert device._find_torch(torch) == expected


@pytest.mark.backends
def test_set_seed_repeats_all_generators():
    def draw():
        device.set_seed(7)
        tensor = keras.ops.convert_to_numpy(keras.random.normal((3,)))
        return random.random(), np.random.rand(), tensor.tolist()  # noqa: NPY002

    assert draw() == draw()


def test_deterministic_algorithms_are_asked_for(monkeypatch):
    """By a stand-in for each backend: the real setting cannot be taken back."""
    asked = []
    stand_in = SimpleNamespace(
        config=SimpleNamespace(
            experimental=SimpleNamespace(
                enable_op_determinism=lambda: asked.append("tensorflow")
            )
        ),
        use_deterministic_algorithms=lambda on: asked.append(("torch", on)),
    )
    monkeypatch.setattr(keras.utils, "set_random_seed", asked.append)
    monkeypatch.setattr(device.importlib, "import_module", lambda name: stand_in)
    monkeypatch.setenv("XLA_FLAGS", "--xla_other=1")
    for backend in ("tensorflow", "torch", "jax", "jax"):
        monkeypatch.setattr(keras.backend, "backend", lambda backend=backend: backend)
        device.set_seed(5)  # asks for nothing
        device.set_seed(5, deterministic=True)
    assert asked == [5, 5, "tensorflow", 5, 5, ("torch", True), 5, 5, 5, 5]
    assert os.environ["XLA_FLAGS"] == "--xla_other=1 --xla_gpu_deterministic_ops=true"


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, None, True, "0"])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed is"):
        device.set_seed(seed)


def test_backend_is_named_as_keras_decides_it(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert device.backend_name() == "tensorflow"
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    assert device.backend_name() == "jax"
    (tmp_path / "keras.json").write_text("not JSON")
    assert device.backend_name() == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert device.backend_name() == "torch"


def test_a_missing_backend_says_what_to_install(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(device, "_installed", lambda name: name == "torch")
    with pytest.raises(
        device.BackendError, match=r'pip install "seglab\[jax\]".*KERAS_BACKEND=torch'
    ):
        device.prepare()
    monkeypatch.setattr(device, "_installed", lambda name: False)
    with pytest.raises(ImportError, match=r'pip install "seglab\[jax\]"\.$'):
        device.prepare()
    facts = device.report()
    assert facts["backend"] == "jax"
    assert "not installed" in facts["problem"]
    assert facts["accelerator"] is None


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(device.BackendError, match=r"theano.*tensorflow, jax, torch"):
        device.prepare()


def test_what_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    device.prepare()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


@pytest.mark.backends
def test_report_is_plain_and_complete():
    facts = device.report()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["problem"] is None
    assert facts["keras"] == keras.__version__
    assert facts["backend"] == keras.backend.backend()
    assert facts["backend_version"]
    assert facts["cpus"] >= 1


@pytest.mark.backends
def test_the_states_of_all_generators_are_kept():
    """As JSON, and to the bit."""

    def draw():
        drawn = [random.random(), random.gauss(0, 1)]
        drawn += np.random.standard_normal(3).tolist()  # noqa: NPY002
        if keras.backend.backend() == "torch":  # its dropout draws from a global one
            zeros = keras.random.dropout(keras.ops.ones(16), 0.5)
            drawn += keras.ops.convert_to_numpy(zeros).tolist()
        return drawn

    draw()  # each normal number leaves a second one for the next call
    state = json.loads(json.dumps(device.random_state()))
    first = draw()
    assert draw() != first
    device.set_random_state(state)
    assert draw() == first


# --- several devices; tests/training/test_distribution.py trains on them


@pytest.mark.backends
def test_one_device_has_nothing_to_share():
    before = keras.distribution.distribution()
    with device.distribute() as count:
        assert count == 1
        assert keras.distribution.distribution() is before
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with device.shared_by(model) as count:
        assert count == 1
    assert device.host() == (0, 1)
    assert device.gather(3) == [3]


def test_several_hosts_with_tensorflow_are_refused(monkeypatch):
    cluster = {"cluster": {"worker": ["10.0.0.1:1", "10.0.0.2:1"]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with (
        pytest.raises(NotImplementedError, match="several hosts with TensorFlow"),
        device._distribute_tensorflow(None),
    ):
        pass


def test_tensorflow_shares_among_all_gpus(monkeypatch):
    """By a stand-in with two."""
    asked = []

    class Strategy:
        num_replicas_in_sync = 2

        def __init__(self, devices):
            asked.append(devices)

        def scope(self):
            return nullcontext()

    gpus = [SimpleNamespace(name=f"/device:GPU:{i}") for i in range(2)]
    tensorflow = SimpleNamespace(
        config=SimpleNamespace(list_logical_devices=lambda kind: gpus),
        distribute=SimpleNamespace(MirroredStrategy=Strategy),
    )
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(device.importlib, "import_module", lambda name: tensorflow)
    with device._distribute_tensorflow(None) as count:
        assert count == 2
    assert asked == [["/device:GPU:0", "/device:GPU:1"]]


def test_jax_shares_among_all_devices_of_all_hosts(monkeypatch):
    """By a stand-in with two hosts of one device each."""
    calls = []
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")

    class DataParallel:
        batch_dim_name = "batch"
        device_mesh = SimpleNamespace(shape=(2,), axis_names=["batch"])

        def __init__(self, devices, auto_shard_dataset):
            calls.append((devices, auto_shard_dataset))

        def scope(self):
            return nullcontext()

    for name, value in {
        "initialize": lambda: calls.append("initialize"),
        "list_devices": lambda: ["gpu:0", "gpu:1"],
        "DataParallel": DataParallel,
    }.items():
        monkeypatch.setattr(keras.distribution, name, value)
    with device._distribute_jax(None) as count:
        assert count == 2
    assert calls == ["initialize", (["gpu:0", "gpu:1"], False)]
    # What fit then asks, on the second host.
    processes = SimpleNamespace(
        process_index=lambda: 1,
        process_count=lambda: 2,
        process_allgather=lambda number: np.stack([number + 1, number]),
    )
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(device.importlib, "import_module", lambda name: processes)
    found = DataParallel([], False)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: found)
    with device.shared_by(None) as count:
        assert count == 2
    assert device.host() == (1, 2)
    assert device.gather(5) == [6, 5]
    # One device on one host is left alone.
    monkeypatch.delenv("KERAS_DISTRIBUTION_NUM_PROCESSES")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    with device._distribute_jax(None) as count:
        assert count == 1


def test_torch_has_one_device(monkeypatch):
    with (
        pytest.raises(NotImplementedError, match="one device with PyTorch"),
        device._distribute_torch(["cuda:0", "cuda:1"]),
    ):
        pass
    here = Accelerator("torch", "gpu", ("X", "X"), (9, 0))
    monkeypatch.setattr(device, "accelerator", lambda: here)
    with (
        pytest.raises(NotImplementedError, match="KERAS_BACKEND to jax or tensorflow"),
        device._distribute_torch(None),
    ):
        pass
    with device._distribute_torch(["cuda:0"]) as count:
        assert count == 1

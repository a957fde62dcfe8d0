"""The machine: its backend and accelerators, one or several; seeds and determinism.

Keras runs on TensorFlow, JAX or PyTorch. All that the course needs to know about
the one in use, and cannot ask Keras, is asked here: this is the only file that
talks to a backend directly.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_EXTRAS = {"tensorflow": "tf", "jax": "jax", "torch": "torch"}
"""The backends, and the extra of seglab that installs each."""

_TENSOR_CORES = (7, 0)
_BFLOAT16 = (8, 0)
"""CUDA compute capabilities from which float16, and bfloat16, are worth using:
Volta's and Ampere's (NVIDIA, "Train With Mixed Precision", 2023)."""


class BackendError(ImportError):
    """The backend that Keras is set to use is not installed."""


@dataclass(frozen=True)
class Accelerator:
    """What the active backend computes on, and what is worth turning on there.

    Parameters
    ----------
    backend : str
        ``"tensorflow"``, ``"jax"`` or ``"torch"``.
    kind : str
        ``"cpu"``, ``"gpu"`` (NVIDIA or AMD), ``"tpu"`` or ``"mps"`` (Apple).
    names : tuple of str
        One name for each accelerator; none for a CPU.
    capability : tuple of int, optional
        The lowest CUDA compute capability among them, such as ``(8, 0)``.

    Examples
    --------
    >>> print(Accelerator("jax", "gpu", ("NVIDIA A100",), (8, 0)))
    1 GPU (NVIDIA A100) with jax
    """

    backend: str
    kind: str
    names: tuple[str, ...] = ()
    capability: tuple[int, int] | None = None

    @property
    def precision(self) -> str:
        """Keras dtype policy that trains fastest here without loss of quality.

        ``"mixed_bfloat16"`` on a TPU or a GPU from Ampere on: it has the range of
        float32, so that nothing overflows and no loss scaling is needed.
        ``"mixed_float16"`` on older GPUs with tensor cores (Volta, Turing: Colab's
        T4). ``"float32"`` everywhere else: a CPU emulates half precision, slowly.

        Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018.

        Examples
        --------
        >>> Accelerator("tensorflow", "gpu", ("Tesla T4",), (7, 5)).precision
        'mixed_float16'
        """
        if self.kind == "tpu":
            return "mixed_bfloat16"
        if self.kind == "gpu" and self.capability is not None:
            if self.capability >= _BFLOAT16:
                return "mixed_bfloat16"
            if self.capability >= _TENSOR_CORES:
                return "mixed_float16"
        return "float32"

    @property
    def jit_compile(self) -> bool:
        """Whether compiling the training step pays here.

        On TensorFlow, XLA pays on a GPU or TPU and not on a CPU (a U-Net trains
        about four times slower with it). JAX always compiles: without, it runs
        one operation at a time. PyTorch's compiler is slow to start.
        """
        return self.backend == "jax" or (
            self.backend == "tensorflow" and self.kind in ("gpu", "tpu")
        )

    def __str__(self) -> str:
        if self.kind == "cpu":
            cores = cpu_count()
            return f"CPU, {cores} core{'s' * (cores != 1)}, with {self.backend}"
        kinds = f"{len(self.names)} {self.kind.upper()}{'s' * (len(self.names) != 1)}"
        return f"{kinds} ({', '.join(dict.fromkeys(self.names))}) with {self.backend}"


def backend_name() -> str:
    """Name the backend that Keras uses, or will use, without loading it.

    Returns
    -------
    str
        From the variable ``KERAS_BACKEND``, or else from Keras's own file
        ``~/.keras/keras.json``, or else ``"tensorflow"``, as Keras itself decides.
    """
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    home = os.environ.get("KERAS_HOME")
    folder = Path(home) if home else Path.home() / ".keras"
    try:
        settings = json.loads((folder / "keras.json").read_text(encoding="utf-8"))
        return str(settings["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


def prepare() -> None:
    """Make sure that the backend can be loaded, and set how it behaves.

    `seglab.models` and `seglab.training` call this before they import Keras. Three
    environment variables are set where the user has not: TensorFlow's C++ log is
    silenced up to its errors, and TensorFlow and JAX take GPU memory as they need
    it, not all at once, so that two notebooks can share one GPU.

    Raises
    ------
    BackendError
        When the backend is not installed, saying what to install. (Keras would
        raise a bare ``ModuleNotFoundError``.)
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    name = backend_name()
    if name not in _EXTRAS:
        raise BackendError(
            f"Keras is set to the backend {name!r}, which seglab does not support. Set "
            f"the environment variable KERAS_BACKEND to one of {', '.join(_EXTRAS)} "
            "before Python starts."
        )
    if _installed(name):
        return
    others = [other for other in _EXTRAS if _installed(other)]
    alternative = (
        f" {' and '.join(others)} is installed: to use it, set the environment "
        f"variable KERAS_BACKEND={others[0]} before Python starts."
        if others
        else ""
    )
    raise BackendError(
        f"Keras is set to the backend {name}, which is not installed. Install it with "
        f'pip install "seglab[{_EXTRAS[name]}]".{alternative}'
    )


def set_seed(seed: int, deterministic: bool = False) -> None:
    """Seed every random number generator: Python's, NumPy's and the backend's.

    Call it before a model is built: its first weights are drawn then. On one CPU
    and one backend, the same seed gives the same bits from run to run; across
    backends it does not.

    Parameters
    ----------
    seed : int
        0 to 2**32 - 1.
    deterministic : bool, default False
        Also ask the backend for algorithms that give the same bits on a GPU. They
        are slower. With JAX it has an effect only before the first computation.

    Raises
    ------
    ValueError
        When the seed is not an integer from 0 to 2**32 - 1.

    Examples
    --------
    >>> import numpy as np
    >>> set_seed(0)
    >>> first = np.random.rand()
    >>> set_seed(0)
    >>> np.random.rand() == first
    True
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ValueError(f"seed is {seed!r}; it must be an integer.")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}; it must be from 0 to 2**32 - 1.")
    prepare()
    import keras

    keras.utils.set_random_seed(int(seed))
    if not deterministic:
        return
    if keras.backend.backend() == "tensorflow":
        importlib.import_module(
            "tensorflow"
        ).config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        # cuBLAS needs the variable, or PyTorch refuses its matrix products.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        importlib.import_module("torch").use_deterministic_algorithms(True)
    else:
        flag = "--xla_gpu_deterministic_ops=true"
        flags = os.environ.get("XLA_FLAGS", "")
        if flag not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} {flag}".strip()


def random_state() -> dict[str, Any]:
    """Take the state of every global random number generator.

    Returns
    -------
    dict
        Of lists, numbers and text, as JSON keeps them; for `set_random_state`. Of
        Python's generator, NumPy's and, where that is the backend, PyTorch's: its
        dropout draws from it. With TensorFlow and JAX, the generators of Keras's layers
        are among the model's variables.

    Examples
    --------
    >>> import random
    >>> state = random_state()
    >>> first = random.random()
    >>> set_random_state(state)
    >>> random.random() == first
    True
    """
    import keras

    version, numbers, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    state: dict[str, Any] = {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
    }
    if keras.backend.backend() == "torch":
        torch = importlib.import_module("torch")
        state["torch"] = torch.get_rng_state().tolist()
        state["cuda"] = [one.tolist() for one in torch.cuda.get_rng_state_all()]
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` took, on the same backend.

    Parameters
    ----------
    state : dict
        From `random_state`, or read from JSON.
    """
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))  # noqa: NPY002
    if "torch" in state:
        torch = importlib.import_module("torch")
        torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))
        for number, one in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(torch.tensor(one, dtype=torch.uint8), number)


def accelerator() -> Accelerator:
    """Find out what the active backend computes on.

    Returns
    -------
    Accelerator
        It prints as one line, and says which precision suits it and whether
        compiling pays.

    Examples
    --------
    >>> here = accelerator()
    >>> here.kind in ("cpu", "gpu", "tpu", "mps")
    True
    """
    prepare()
    import keras

    backend = keras.backend.backend()
    find = {"tensorflow": _find_tensorflow, "jax": _find_jax, "torch": _find_torch}
    return find[backend](importlib.import_module(backend))


@contextmanager
def distribute(devices: Sequence[str] | None = None) -> Iterator[int]:
    """Share the work on each batch among several devices, and several hosts.

    Build the model and call `seglab.training.fit` inside::

        with device.distribute():
            model = models.unet(data.image_shape, data.num_classes)
            fit(model, data, epochs=20, batch_size=64)

    Each device holds the whole model and takes an equal part of every batch; the
    gradients are averaged, so that a step is what it would be on one device, up to
    rounding. `batch_size` is that of the whole batch and a multiple of the number of
    devices. Only the training steps are shared: every device computes the whole
    validation.

    * **TensorFlow**: `tf.distribute.MirroredStrategy`, the devices of one host. Two
      things are taken over each device's part, not the whole batch: the mean and
      variance of batch normalization (unless made with ``synchronized=True``), and the
      mean over the pixels that are not ignored. Keras 3 cannot train on several hosts
      with TensorFlow (keras-team/keras, issue 20585).
    * **JAX**: `keras.distribution.DataParallel`; both are taken over the whole batch.
      On several hosts, run the same program on each, with three environment variables:
      ``KERAS_DISTRIBUTION_JOB_ADDRESSES`` (``10.0.0.1:1234``, the first host's address
      and a free port), ``KERAS_DISTRIBUTION_NUM_PROCESSES`` (how many hosts) and
      ``KERAS_DISTRIBUTION_PROCESS_ID`` (0 on the first, 1 on the next), and call this
      before anything is computed, `set_seed` included. Each host loads the same data
      and sets the same seed; checkpoints lie on a file system that all of them see.
    * **PyTorch**: one device; Keras has no distribution there.

    Tested on virtual devices of one machine, and for several hosts on two processes of
    one machine; not on a cluster.

    Parameters
    ----------
    devices : sequence of str, optional
        Such as ``["gpu:0", "gpu:1"]``. Default: all accelerators, or else the CPU.

    Yields
    ------
    int
        Devices that share a batch, on all hosts together. With one there is nothing to
        share, and nothing is changed.

    Raises
    ------
    NotImplementedError
        When the backend cannot share work among these devices or hosts.

    Examples
    --------
    >>> with distribute() as devices:
    ...     devices >= 1
    True
    """
    prepare()
    import keras

    backend = keras.backend.backend()
    scope = {
        "tensorflow": _distribute_tensorflow,
        "jax": _distribute_jax,
        "torch": _distribute_torch,
    }[backend]
    with scope(devices) as count:
        yield count


@contextmanager
def shared_by(model: Any) -> Iterator[int]:
    """Go where a model was built: into its distribution, if it has one.

    Parameters
    ----------
    model : keras.Model
        Built inside `distribute`, or a distribution of Keras or TensorFlow, or not.

    Yields
    ------
    int
        Devices that share each batch in training.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        strategy = model.distribute_strategy  # without one: TensorFlow's default
        with strategy.scope():
            yield int(strategy.num_replicas_in_sync)
        return
    found = keras.distribution.distribution()
    if found is None:
        yield 1
        return
    mesh = found.device_mesh
    yield int(mesh.shape[mesh.axis_names.index(found.batch_dim_name)])


def host() -> tuple[int, int]:
    """Tell which of the hosts that train together this is, and how many there are.

    Returns
    -------
    index, count : int
        ``(0, 1)`` on a single machine.

    Examples
    --------
    >>> host()
    (0, 1)
    """
    import keras

    if keras.backend.backend() != "jax" or keras.distribution.distribution() is None:
        return 0, 1
    jax = importlib.import_module("jax")
    return int(jax.process_index()), int(jax.process_count())


def gather(number: int) -> list[int]:
    """Give a number of each host to all of them, when all have come here.

    Parameters
    ----------
    number : int
        This host's.

    Returns
    -------
    list of int
        In the order of the hosts.

    Examples
    --------
    >>> gather(7)
    [7]
    """
    if host()[1] == 1:
        return [number]
    utilities = importlib.import_module("jax.experimental.multihost_utils")
    gathered: list[int] = utilities.process_allgather(np.array(number)).tolist()
    return gathered


@contextmanager
def _distribute_tensorflow(devices: Sequence[str] | None) -> Iterator[int]:
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    if len(cluster.get("worker", [])) > 1:
        raise NotImplementedError(
            "TF_CONFIG names several hosts, and Keras 3 cannot train on several hosts "
            "with TensorFlow. Set KERAS_BACKEND=jax: see seglab.device.distribute."
        )
    tf = importlib.import_module("tensorflow")
    if devices is None:
        devices = [d.name for d in tf.config.list_logical_devices("GPU")]
        if len(devices) < 2:
            yield 1
            return
    strategy = tf.distribute.MirroredStrategy(list(devices))
    with strategy.scope():
        yield int(strategy.num_replicas_in_sync)


@contextmanager
def _distribute_jax(devices: Sequence[str] | None) -> Iterator[int]:
    import keras

    if int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1")) > 1:
        keras.distribution.initialize()
    if devices is None:
        devices = keras.distribution.list_devices()  # of all hosts
        if len(devices) < 2:
            yield 1
            return
    # seglab.training gives each host its part of a batch itself.
    data_parallel = keras.distribution.DataParallel(
        devices=list(devices), auto_shard_dataset=False
    )
    with data_parallel.scope():
        yield len(devices)


@contextmanager
def _distribute_torch(devices: Sequence[str] | None) -> Iterator[int]:
    if len(accelerator().names if devices is None else devices) > 1:
        raise NotImplementedError(
            "Keras trains on one device with PyTorch. Set KERAS_BACKEND to jax or "
            "tensorflow to share the work among several."
        )
    yield 1


def report() -> dict[str, Any]:
    """Collect what one needs to know to repeat a result, or to report a problem.

    Returns
    -------
    dict
        Plain values: ``python``, ``platform``, ``cpus`` (cores that this process
        may use), ``seglab``, ``keras``, ``numpy``, ``backend``,
        ``backend_version``, ``accelerator`` (kind), ``accelerators`` (names),
        ``precision`` and ``jit_compile`` (what `seglab.training.fit` would use),
        and ``problem``: None, or why the backend cannot be used, in which case what
        depends on it is None.

    Examples
    --------
    >>> import keras
    >>> report()["keras"] == keras.__version__
    True
    """
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": cpu_count(),
        "seglab": _version("seglab"),
        "keras": _version("keras"),
        "numpy": _version("numpy"),
        "backend": backend_name(),
        "backend_version": None,
        "accelerator": None,
        "accelerators": None,
        "precision": None,
        "jit_compile": None,
        "problem": None,
    }
    try:
        here = accelerator()
    except ImportError as error:
        return facts | {"problem": str(error)}
    return facts | {
        "backend": here.backend,
        "backend_version": str(importlib.import_module(here.backend).__version__),
        "accelerator": here.kind,
        "accelerators": list(here.names),
        "precision": here.precision,
        "jit_compile": here.jit_compile,
    }


def _find_tensorflow(tf: Any) -> Accelerator:
    for kind in ("TPU", "GPU"):
        found = tf.config.list_physical_devices(kind)
        if not found:
            continue
        details = [tf.config.experimental.get_device_details(one) for one in found]
        names = tuple(d.get("device_name", kind) for d in details)
        capabilities = [
            d["compute_capability"]
            for d in details
            if kind == "GPU" and d.get("compute_capability")
        ]
        lowest = min(map(tuple, capabilities), default=None)
        return Accelerator("tensorflow", kind.lower(), names, lowest)
    return Accelerator("tensorflow", "cpu")


def _find_jax(jax: Any) -> Accelerator:
    found = jax.devices()
    kind = found[0].platform
    if kind == "cpu":
        return Accelerator("jax", "cpu")
    kind = "tpu" if kind == "tpu" else "gpu"
    names = tuple(str(one.device_kind) for one in found)
    # JAX gives the capability as text, "8.0"; an AMD GPU's is no such number.
    texts = [str(getattr(one, "compute_capability", "")) for one in found]
    pairs = [
        tuple(map(int, text.split(".")))
        for text in texts
        if text.replace(".", "", 1).isdigit() and "." in text
    ]
    lowest = min(((p[0], p[1]) for p in pairs), default=None)
    return Accelerator("jax", kind, names, lowest)


def _find_torch(torch: Any) -> Accelerator:
    if torch.cuda.is_available():
        count = range(torch.cuda.device_count())
        names = tuple(torch.cuda.get_device_name(i) for i in count)
        # ROCm builds answer for CUDA too, with numbers that mean something else.
        if getattr(torch.version, "hip", None):
            return Accelerator("torch", "gpu", names)
        lowest = min(torch.cuda.get_device_capability(i) for i in count)
        return Accelerator("torch", "gpu", names, lowest)
    if torch.backends.mps.is_available():
        return Accelerator("torch", "mps", ("Apple GPU",))
    return Accelerator("torch", "cpu")


def _installed(module: str) -> bool:
    """Ask whether a module could be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def cpu_count() -> int:
    """Count the cores that this process may use: fewer than exist in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Name the processor, as far as the system says."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2] for line in lines if "model name" in line]
    return names[0].strip() if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

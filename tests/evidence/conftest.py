"""What tests of several experiments share."""

from collections.abc import Callable

import pytest

from seglab import data
from seglab.evidence.catalog import carry_over


@pytest.fixture
def pretend(monkeypatch):
    """Let drawn images stand for the real sets of `carry_over`, in short trainings."""
    draw = data.load
    caches = (carry_over.load, carry_over.compiled)

    def put(relabel: Callable, epochs: int) -> Callable:
        """Load a set by name as drawn cells, each split changed by `relabel`."""

        def load(name, size=64):
            whole = draw("cells", seed=0, count=30, size=size)
            splits = whole.splits().values()
            return data.Dataset(name, *(relabel(name, split) for split in splits))

        monkeypatch.setattr(data, "load", load)
        monkeypatch.setattr(carry_over, "EPOCHS", epochs)
        return load

    for cached in caches:
        cached.cache_clear()
    yield put
    for cached in caches:
        cached.cache_clear()

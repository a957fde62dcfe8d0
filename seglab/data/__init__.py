"""Labeled images: simulated, photographed, or read from disk.

Every source gives the same `Dataset`; see `load`.
"""

from seglab.data.dataset import DataError, Dataset, Split

__all__ = ["DataError", "Dataset", "Split"]

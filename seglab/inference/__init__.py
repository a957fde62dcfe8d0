"""Use a trained network: on images of any size, and to tell objects apart.

`predict` gives the probability of each class at each pixel of an image, whole or tile
by tile. `instances_from_boundary` and `instances_from_distance` turn a network's maps
into one number for each object.

Examples
--------
>>> import numpy as np
>>> from seglab.inference import predict
>>> def network(images):  # two classes: the brighter, the likelier the second
...     return np.concatenate([0 * images, 8 * images - 4], axis=-1)
>>> image = np.random.default_rng(0).random((100, 90, 1), np.float32)
>>> probabilities = predict(network, image, tile=32)
>>> probabilities.shape, probabilities.dtype
((100, 90, 2), dtype('float32'))
"""

from seglab.inference.instances import instances_from_boundary, instances_from_distance
from seglab.inference.prediction import predict

__all__ = ["instances_from_boundary", "instances_from_distance", "predict"]

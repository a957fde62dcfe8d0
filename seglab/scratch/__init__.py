"""A neural network library in NumPy, small enough to read in an evening.

Each layer is a class with `forward` and `backward`; nothing is hidden, nothing is
derived by a machine. Images and feature maps are (N, H, W, C), and names, shapes and
defaults are Keras's, so that weights can be copied over and results compared.

Examples
--------
>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> network = Sequential(Conv2D(1, 4, 3, seed=rng), ReLU(), Conv2D(4, 2, 1, seed=rng))
>>> network.forward(np.ones((8, 32, 32, 1), np.float32)).shape
(8, 30, 30, 2)
"""

from seglab.scratch.activations import ReLU, Sigmoid, Softmax
from seglab.scratch.check import GradientCheck, gradient_check
from seglab.scratch.convolution import Conv2D, conv2d_loops
from seglab.scratch.dense import Dense, Flatten
from seglab.scratch.layer import Layer, he_normal
from seglab.scratch.losses import MSE, CrossEntropy, Dice, Loss
from seglab.scratch.network import Sequential
from seglab.scratch.normalization import BatchNorm
from seglab.scratch.optimizers import SGD, Adam, Momentum, Optimizer, RMSProp
from seglab.scratch.pooling import AveragePool2D, MaxPool2D, MaxUnpool2D
from seglab.scratch.transposed import ConvTranspose2D
from seglab.scratch.upsampling import UpSample, interpolation_matrix
from seglab.scratch.windows import col2im, im2col

__all__ = [
    "MSE",
    "SGD",
    "Adam",
    "AveragePool2D",
    "BatchNorm",
    "Conv2D",
    "ConvTranspose2D",
    "CrossEntropy",
    "Dense",
    "Dice",
    "Flatten",
    "GradientCheck",
    "Layer",
    "Loss",
    "MaxPool2D",
    "MaxUnpool2D",
    "Momentum",
    "Optimizer",
    "RMSProp",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "UpSample",
    "col2im",
    "conv2d_loops",
    "gradient_check",
    "he_normal",
    "im2col",
    "interpolation_matrix",
]

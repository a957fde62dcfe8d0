"""Pictures of data, mistakes, training and what is in a network, all in one style.

Every function takes arrays and returns a `Figure` (or, for `colorize`, `overlay`
and `instances`, an RGB array to show or save). A figure is not registered with
pyplot: as the last line of a notebook cell it is displayed once, and it costs
nothing when it is thrown away. `alt_text` says in words what a figure shows.
"""

from seglab.plots.arrays import colorize, instances, overlay
from seglab.plots.calibration import reliability_diagram
from seglab.plots.channels import feature_maps, kernels
from seglab.plots.colors import (
    BACKGROUND_COLOR,
    CLASS_COLORS,
    IGNORE_COLOR,
    class_colors,
)
from seglab.plots.curves import learning_curves
from seglab.plots.errors import error_map
from seglab.plots.fields import pyramid, receptive_field
from seglab.plots.figure import STYLE, Figure, alt_text, style, subplots
from seglab.plots.matrix import confusion_matrix
from seglab.plots.panels import show, side_by_side

__all__ = [
    "BACKGROUND_COLOR",
    "CLASS_COLORS",
    "IGNORE_COLOR",
    "STYLE",
    "Figure",
    "alt_text",
    "class_colors",
    "colorize",
    "confusion_matrix",
    "error_map",
    "feature_maps",
    "instances",
    "kernels",
    "learning_curves",
    "overlay",
    "pyramid",
    "receptive_field",
    "reliability_diagram",
    "show",
    "side_by_side",
    "style",
    "subplots",
]

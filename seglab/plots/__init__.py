"""Pictures of images, masks, mistakes and training, alike through the whole course.

Every function takes arrays and returns a `Figure` (or, for `colorize`, `overlay`
and `instances`, an RGB array to show or save). A figure is not registered with
pyplot: as the last line of a notebook cell it is displayed once, and it costs
nothing when it is thrown away. `alt_text` says in words what a figure shows.
"""

from seglab.plots.arrays import colorize, instances, overlay
from seglab.plots.colors import (
    BACKGROUND_COLOR,
    CLASS_COLORS,
    IGNORE_COLOR,
    class_colors,
)
from seglab.plots.curves import learning_curves
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
    "instances",
    "learning_curves",
    "overlay",
    "show",
    "side_by_side",
    "style",
    "subplots",
]

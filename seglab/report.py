"""What a model gets right, class by class: a Report.

A report keeps the confusion matrix of every image, not the finished numbers: any
metric, over the data set or image by image, can still be taken from it, and an
interval over images can be drawn by resampling.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from seglab import metrics

_COLUMNS = ("IoU", "Dice", "precision", "recall", "pixels")
_RESAMPLES = 2000
_NOTHING = "–"  # printed for NaN: the class is in neither truth nor prediction


def as_text(renderable: Any) -> str:
    """Render as rich does, the same text everywhere: fixed width, no colors.

    In a notebook too, where rich would display it and leave the text empty.

    Parameters
    ----------
    renderable : object that rich can print

    Returns
    -------
    str
        Lines of at most 100 characters, without blanks at their ends.

    Examples
    --------
    >>> as_text(Text("all background", style="bold"))
    'all background'
    """
    text = io.StringIO()
    console = Console(file=text, width=100, color_system=None, force_jupyter=False)
    console.print(renderable)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """Overlap metrics of a model on a set of images, one class a row.

    It prints as a table and shows as one in a notebook. Pixel accuracy comes last,
    beside what answering the most frequent class everywhere would reach.

    Parameters
    ----------
    classes : tuple of str
        Names of the C classes, in the order of their numbers.
    confusions : ndarray of int64, shape (N, C, C)
        One confusion matrix for each image, rows = truth; see
        `seglab.metrics.confusion_matrix`.
    title : str, optional
        What was evaluated, for the table's caption.
    confidence : float, optional
        Show an interval of this confidence beside each IoU, such as 0.95; see
        `interval`, and `with_intervals` to add them to a report that you have.

    Raises
    ------
    ValueError
        When the matrices do not fit the classes, or the confidence is not between 0
        and 1.

    Examples
    --------
    >>> import numpy as np
    >>> confusions = np.array([[[50, 2], [3, 9]], [[60, 0], [4, 0]]])
    >>> report = Report(("background", "cell"), confusions)
    >>> report
    Report(2 images, IoU: background 0.924, cell 0.500)
    >>> print(report)
     class         IoU   Dice  precision  recall  pixels
     background  0.924  0.961      0.940   0.982     112
     cell        0.500  0.667      0.818   0.562      16
     mean IoU    0.712                               128
    Pixel accuracy 0.930; answering “background” everywhere would reach 0.875.
    >>> round(report.mean_iou, 3)
    0.712
    """

    classes: tuple[str, ...]
    confusions: NDArray[np.int64]
    title: str = ""
    confidence: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        confusions = np.asarray(self.confusions)
        C = len(self.classes)
        if confusions.ndim != 3 or confusions.shape[1:] != (C, C):
            raise ValueError(
                f"confusions has shape {confusions.shape}; with {C} classes "
                f"({', '.join(self.classes)}) it must be (N, {C}, {C}), one matrix "
                "for each image: confusion_matrix(..., per_image=True)."
            )
        object.__setattr__(self, "confusions", confusions)
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise ValueError(
                f"confidence is {self.confidence}; it must lie between 0 and 1."
            )

    def __len__(self) -> int:
        """Count the images, N."""
        return len(self.confusions)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrix of all images together, (C, C), rows = truth."""
        total: NDArray[np.int64] = self.confusions.sum(axis=0)
        return total

    @property
    def iou(self) -> NDArray[np.float64]:
        """IoU of each class over all pixels of all images, (C,)."""
        return metrics.iou(self.confusion)

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice coefficient of each class over all pixels of all images, (C,)."""
        return metrics.dice(self.confusion)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Precision of each class over all pixels of all images, (C,)."""
        return metrics.precision(self.confusion)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Recall of each class over all pixels of all images, (C,)."""
        return metrics.recall(self.confusion)

    @property
    def pixels(self) -> NDArray[np.int64]:
        """True pixels of each class that were counted, (C,)."""
        counts: NDArray[np.int64] = self.confusion.sum(axis=1)
        return counts

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the classes that are in truth or prediction."""
        return float(metrics.mean_iou(self.confusion))

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels labeled correctly; never to be shown alone."""
        return float(metrics.pixel_accuracy(self.confusion))

    @property
    def image_iou(self) -> NDArray[np.float64]:
        """IoU of each class in each image, (N, C); its mean is not `iou`."""
        return metrics.iou(self.confusions)

    def interval(
        self,
        metric: Callable[[Any], Any] = metrics.mean_iou,
        *,
        confidence: float = 0.95,
        resamples: int = _RESAMPLES,
        seed: int = 0,
    ) -> metrics.Interval:
        """How far a metric would move with other images: a bootstrap interval.

        Parameters
        ----------
        metric : callable, default `seglab.metrics.mean_iou`
            A function of `seglab.metrics` that takes confusion matrices.
        confidence : float, default 0.95
            Share of the resamples that lie inside.
        resamples, seed : int
            See `seglab.metrics.bootstrap`.

        Returns
        -------
        Interval
            ``low`` and ``high``: floats, or arrays (C,) for a metric of each class.
            NaN for fewer than two images. What to think of few images, or of images
            that are parts of one, is said at `seglab.metrics.bootstrap_interval`.

        Examples
        --------
        >>> import numpy as np
        >>> confusions = np.array([[[50, 2], [3, 9]], [[60, 0], [4, 0]]])
        >>> report = Report(("background", "cell"), confusions)
        >>> low, high = report.interval(metrics.iou)
        >>> low.round(3), high.round(3)
        (array([0.909, 0.   ]), array([0.938, 0.643]))
        """
        return metrics.bootstrap_interval(
            self.confusions,
            metric,
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )

    def with_intervals(self, confidence: float = 0.95) -> Report:
        """Give the same report, with an interval beside each IoU.

        Parameters
        ----------
        confidence : float, default 0.95
            See `interval`.

        Returns
        -------
        Report
            Its table, JSON and CSV have the intervals too.

        Examples
        --------
        >>> import numpy as np
        >>> confusions = np.array([[[50, 2], [3, 9]], [[60, 0], [4, 0]]])
        >>> print(Report(("background", "cell"), confusions).with_intervals())
         class         IoU  95 % interval   Dice  precision  recall  pixels
         background  0.924    0.909–0.938  0.961      0.940   0.982     112
         cell        0.500    0.000–0.643  0.667      0.818   0.562      16
         mean IoU    0.712    0.469–0.776                               128
        Pixel accuracy 0.930; answering “background” everywhere would reach 0.875.
        Intervals: percentile bootstrap, 2000 resamples of the 2 images.
        """
        return replace(self, confidence=confidence)

    def to_dict(self) -> dict[str, Any]:
        """Everything in the table, and the summed confusion matrix, as plain values.

        Returns
        -------
        dict
            Keys ``title``, ``images``, ``classes`` (a list with one dict for each
            class), ``mean_iou``, ``pixel_accuracy``, ``confusion``. NaN is None. With
            intervals also ``confidence``, ``resamples``, ``mean_iou_low`` and
            ``mean_iou_high``, and of each class ``iou_low`` and ``iou_high``.

        Examples
        --------
        >>> import numpy as np
        >>> report = Report(("background", "cell"), np.array([[[6, 2], [0, 0]]]))
        >>> report.to_dict()["classes"][0]["iou"], report.to_dict()["mean_iou"]
        (0.75, 0.375)
        """
        columns = {name.lower(): getattr(self, name.lower()) for name in _COLUMNS}
        whole = {"mean_iou": self.mean_iou, "pixel_accuracy": self.pixel_accuracy}
        if self.confidence is not None:
            low, high = self.interval(metrics.iou, confidence=self.confidence)
            iou = columns.pop("iou")
            columns = {"iou": iou, "iou_low": low, "iou_high": high, **columns}
            low, high = self.interval(confidence=self.confidence)
            whole |= {"mean_iou_low": low, "mean_iou_high": high}
            whole |= {"confidence": self.confidence, "resamples": _RESAMPLES}
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        return {
            "title": self.title,
            "images": len(self),
            "classes": [
                {"name": name, **dict(zip(columns, map(_plain, row), strict=True))}
                for name, row in zip(self.classes, rows, strict=True)
            ],
            **{key: _plain(value) for key, value in whole.items()},
            "confusion": self.confusion.tolist(),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Give `to_dict` as JSON text, and write it to a file if one is named.

        Parameters
        ----------
        path : str or Path, optional
            File to write.

        Returns
        -------
        str
            The text.
        """
        return _write(json.dumps(self.to_dict(), indent=2) + "\n", path)

    def to_csv(self, path: str | Path | None = None) -> str:
        """Give the table's classes as CSV text, one a line; write it if named a file.

        Parameters
        ----------
        path : str or Path, optional
            File to write.

        Returns
        -------
        str
            The text. NaN is an empty field.

        Examples
        --------
        >>> import numpy as np
        >>> report = Report(("background", "cell"), np.array([[[6, 2], [0, 0]]]))
        >>> print(report.to_csv(), end="")
        name,iou,dice,precision,recall,pixels
        background,0.75,0.8571428571428571,1.0,0.75,8
        cell,0.0,0.0,0.0,,0
        """
        text = io.StringIO()
        rows = self.to_dict()["classes"]
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return _write(text.getvalue(), path)

    def _rows(self) -> list[list[str]]:
        """Table rows, a class each, then the mean of the classes; all text."""
        scores = np.stack([self.iou, self.dice, self.precision, self.recall], axis=1)
        rows = [
            [name, *map(_number, row), f"{pixels}"]
            for name, row, pixels in zip(
                self.classes, scores.tolist(), self.pixels.tolist(), strict=True
            )
        ]
        # Only IoU is averaged: a mean of recalls or precisions, each over the
        # classes where it exists, invites comparisons that mean nothing.
        total = int(self.pixels.sum())
        rows.append(["mean IoU", _number(self.mean_iou), "", "", "", f"{total}"])
        if self.confidence is not None:
            ends = np.array(self.interval(metrics.iou, confidence=self.confidence)).T
            mean = self.interval(confidence=self.confidence)
            for row, (low, high) in zip(rows, [*ends.tolist(), mean], strict=True):
                row.insert(2, "" if math.isnan(low) else f"{low:.3f}–{high:.3f}")
        return rows

    def _columns(self) -> list[str]:
        """Headings of the rows, but for the first, the class."""
        if self.confidence is None:
            return list(_COLUMNS)
        return [_COLUMNS[0], f"{100 * self.confidence:g} % interval", *_COLUMNS[1:]]

    def _notes(self) -> list[str]:
        """Pixel accuracy, beside that of a model that has learned nothing."""
        if not self.pixels.any():
            return ["No pixel was counted."]
        most = int(self.pixels.argmax())
        share = self.pixels[most] / self.pixels.sum()
        notes = [
            f"Pixel accuracy {_number(self.pixel_accuracy)}; answering "
            f"“{self.classes[most]}” everywhere would reach {_number(share)}."
        ]
        if any(_NOTHING in row for row in self._rows()):
            notes.append(f"{_NOTHING} is 0/0: there are no such pixels.")
        if self.confidence is not None:
            notes.append(
                f"Intervals: percentile bootstrap, {_RESAMPLES} resamples of the "
                f"{len(self)} images."
                if len(self) > 1
                else "Fewer than two images give no interval."
            )
        return notes

    def _caption(self) -> str:
        images = f"{len(self)} image{'' if len(self) == 1 else 's'}"
        return f"{self.title}, {images}" if self.title else images

    def __rich__(self) -> Group:
        *rows, mean = self._rows()
        table = Table(box=None)
        table.add_column("class")
        for name in self._columns():
            table.add_column(name, justify="right")
        # Text, not str: a class may be called "[bold]", which rich would obey.
        for row in rows:
            table.add_row(*map(Text, row))
        table.add_row(*map(Text, mean), style="bold")
        title = [Text(self._caption(), style="bold")] if self.title else []
        return Group(*title, table, *map(Text, self._notes()))

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        scores = ", ".join(
            f"{name} {_number(value)}"
            for name, value in zip(self.classes, self.iou.tolist(), strict=True)
        )
        return f"Report({self._caption()}, IoU: {scores})"

    def _repr_html_(self) -> str:
        *rows, mean = self._rows()
        head = "".join(
            f'<th scope="col">{html.escape(name)}</th>'
            for name in ("class", *self._columns())
        )
        body = "".join(_html_row(row) for row in rows)
        return (
            f"<table><caption>{html.escape(self._caption())}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
            f"<tfoot>{_html_row(mean)}</tfoot></table>"
            f"<p>{html.escape(' '.join(self._notes()))}</p>"
        )


def _html_row(row: list[str]) -> str:
    name, *values = row
    cells = "".join(f"<td>{html.escape(value)}</td>" for value in values)
    return f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>'


def _number(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _write(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text

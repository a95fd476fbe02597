"""What cross-validation says of a head: numbers with intervals, as text and as a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw
from scipy.stats import rankdata
from sklearn.metrics import roc_curve  # type: ignore[import-untyped]

from napari_cytosae.core._calibration import calibration_curve, calibration_error
from napari_cytosae.core._drawing import text
from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from napari_cytosae.core._selection import Validation
    from napari_cytosae.core.types import BoolArray, Float64Array, Int64Array

DRAWS = 300
"""Bootstrap samples of the patients, each from one of the repeats."""

Value = tuple[float, float, float]
"""Mean over the repeats, and the interval of 95 % of the draws."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadReport:
    """Scores of a head on patients it did not see.

    Attributes
    ----------
    classes : tuple of str
    counts : ndarray of int, (n_classes,)
        Patients of each class.
    per_class : dict
        ``precision``, ``recall``, ``F1``, ``AUROC``: a `Value` a class.
    overall : dict
        ``weighted F1``, ``accuracy``, ``calibration error``, ``coverage``, ``set size``.
    confusion : ndarray of float64, (n_classes, n_classes)
        True x predicted, mean over the repeats.
    curve : list of (confidence, accuracy, patients)
        Over all repeats.
    roc : list of list of (false positive rate, true positive rate)
        Of each class against all others, over all repeats.
    note : str
        What the figures say at their foot.
    """

    classes: tuple[str, ...]
    counts: Int64Array
    per_class: dict[str, list[Value]]
    overall: dict[str, Value]
    confusion: Float64Array
    curve: list[tuple[float, float, int]]
    roc: list[list[tuple[float, float]]]
    note: str = RESEARCH_USE

    def as_json(self) -> dict[str, object]:
        """For ``head.json``."""
        return {
            "classes": list(self.classes),
            "per_class": {key: list(map(list, v)) for key, v in self.per_class.items()},
            "overall": {key: list(v) for key, v in self.overall.items()},
            "confusion": self.confusion.tolist(),
        }

    def __str__(self) -> str:
        """Lines for a terminal."""
        width = max(len(name) for name in (*self.classes, "weighted F1"))
        columns = list(self.per_class)
        lines = [
            "Nested cross-validation, mean [95 % interval over repeats and patients]",
            f"{'class':<{width}}     n  " + "".join(f"{name:<20}" for name in columns),
        ]
        for row, name in enumerate(self.classes):
            values = "".join(f"{_interval(self.per_class[c][row]):<20}" for c in columns)
            lines.append(f"{name:<{width}}  {self.counts[row]:>4}  {values}".rstrip())
        lines += ["", *(f"{k:<18}{_interval(v)}" for k, v in self.overall.items()), ""]
        lines.append("true (down) / predicted (across), patients a repeat")
        for row, name in enumerate(self.classes):
            cells = "".join(f"{value:8.1f}" for value in self.confusion[row])
            lines.append(f"{name:<{width}}{cells}")
        lines += ["", "calibration: confidence, accuracy, predictions"]
        lines += [f"  {said:.2f}  {true:.2f}  {n}" for said, true, n in self.curve]
        return "\n".join(lines)


def report(validation: Validation, note: str = RESEARCH_USE) -> HeadReport:
    """Put a validation in numbers; `note` is that of the patients, `Barcodes.note`."""
    p, labels = validation.p, validation.labels
    repeats, n, n_classes = p.shape
    rng = np.random.default_rng(0)
    everyone = np.arange(n)
    means = [_measures(validation, r, everyone) for r in range(repeats)]
    draws = [
        _measures(validation, int(rng.integers(repeats)), rows)
        for rows in rng.integers(n, size=(DRAWS, n))
    ]
    values: dict[str, list[Value]] = {}
    for key in means[0]:
        centre = np.nanmean([m[key] for m in means], axis=0)
        low, high = np.nanpercentile([d[key] for d in draws], (2.5, 97.5), axis=0)
        values[key] = [
            (float(c), float(a), float(b))
            for c, a, b in zip(*map(np.atleast_1d, (centre, low, high)), strict=True)
        ]
    per_class = ("precision", "recall", "F1", "AUROC")
    flat = p.reshape(-1, n_classes)
    repeated = np.tile(labels, repeats)
    confusion = np.zeros((n_classes, n_classes))
    np.add.at(confusion, (repeated, flat.argmax(axis=1)), 1 / repeats)
    return HeadReport(
        validation.classes,
        np.bincount(labels, minlength=n_classes),
        {key: values[key] for key in per_class},
        {key: value[0] for key, value in values.items() if key not in per_class},
        confusion,
        calibration_curve(flat, repeated),
        [_roc(flat[:, label], repeated == label) for label in range(n_classes)],
        note,
    )


def _roc(p: Float64Array, true: BoolArray) -> list[tuple[float, float]]:
    false_positive, true_positive, _ = roc_curve(true, p)
    return list(zip(map(float, false_positive), map(float, true_positive), strict=True))


def _measures(
    validation: Validation, repeat: int, rows: Int64Array
) -> dict[str, Float64Array]:
    p, sets = validation.p[repeat, rows], validation.sets[repeat, rows]
    labels = validation.labels[rows]
    n_classes = p.shape[1]
    true = np.eye(n_classes)[labels]
    said = np.eye(n_classes)[p.argmax(axis=1)]
    hits, support, called = (true * said).sum(0), true.sum(0), said.sum(0)
    f1 = 2 * hits / np.maximum(support + called, 1)
    return {
        "precision": hits / np.maximum(called, 1),
        "recall": hits / np.maximum(support, 1),
        "F1": f1,
        "AUROC": _auroc(p, true),
        "weighted F1": np.asarray(f1 @ support / support.sum()),
        "accuracy": np.asarray(hits.sum() / len(rows)),
        "calibration error": np.asarray(calibration_error(p, labels)),
        "coverage": np.asarray(sets[np.arange(len(rows)), labels].mean()),
        "set size": np.asarray(sets.sum(axis=1).mean()),
    }


def _auroc(p: Float64Array, true: Float64Array) -> Float64Array:
    """Of each class against all others, from the ranks; NaN where a draw lacks one."""
    ranks = rankdata(p, axis=0)
    n = true.sum(axis=0)
    pairs = n * (len(p) - n)
    above = (ranks * true).sum(axis=0) - n * (n + 1) / 2
    areas: Float64Array = np.divide(
        above, pairs, out=np.full(len(n), np.nan), where=pairs > 0
    )
    return areas


def _interval(value: Value) -> str:
    mean, low, high = value
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def report_figure(found: HeadReport) -> PillowImage.Image:
    """The confusion matrix and the calibration curve, side by side."""
    k = len(found.classes)
    cell, left, top, side = 84, 240, 130, 420
    width = left + k * cell + 130 + side + 40
    height = top + max(k * cell, side) + 110
    figure = PillowImage.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(figure)
    weighted = _interval(found.overall["weighted F1"])
    text(draw, (24, 20), f"Nested cross-validation: weighted F1 {weighted}", 22, "black")
    text(draw, (left, 70), "predicted class", 15, "#555")
    shares = found.confusion / np.maximum(found.counts[:, None], 1)
    for row, name in enumerate(found.classes):
        y = top + row * cell
        label = f"{name} ({found.counts[row]})"
        text(draw, (left - 10, y + cell / 2), label, 15, "black", width=210, anchor="rm")
        text(
            draw,
            (left + row * cell + cell / 2, top - 10),
            name.removeprefix("AML-"),
            12,
            "black",
            width=cell - 4,
            anchor="ms",
        )
        for column in range(k):
            share = float(shares[row, column])
            shade = tuple(round(255 + share * (end - 255)) for end in (33, 90, 160))
            x = left + column * cell
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=shade)
            ink = "white" if share > 0.5 else "black"
            number = f"{found.confusion[row, column]:.1f}"
            text(draw, (x + cell / 2, y + cell / 2), number, 16, ink, anchor="mm")
    _draw_curve(draw, found, (left + k * cell + 110, top), side)
    error = _interval(found.overall["calibration error"])
    foot = f"{found.note}   Calibration error {error}"
    text(draw, (24, height - 34), foot, 15, "#555")
    return figure


def _draw_curve(
    draw: ImageDraw.ImageDraw, found: HeadReport, corner: tuple[int, int], side: int
) -> None:
    x0, y0 = corner
    draw.rectangle((x0, y0, x0 + side, y0 + side), outline="#888")
    draw.line((x0, y0 + side, x0 + side, y0), fill="#bbb")
    points = [(x0 + s * side, y0 + (1 - t) * side) for s, t, _ in found.curve]
    if len(points) > 1:
        draw.line(points, fill="#215aa0", width=3)
    most = max(n for _, _, n in found.curve)
    for (x, y), (_, _, n) in zip(points, found.curve, strict=True):
        r = 3 + 7 * (n / most) ** 0.5
        draw.ellipse((x - r, y - r, x + r, y + r), fill="#215aa0")
    middle = x0 + side / 2
    text(draw, (middle, y0 + side + 24), "confidence, 0 to 1", 15, "#555", anchor="mm")
    text(
        draw, (x0, y0 - 14), "share of correct predictions, 0 to 1", 15, "#555", anchor="ls"
    )

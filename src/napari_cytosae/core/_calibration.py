"""From scores to probabilities that hold, and to sets that contain the truth."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

if TYPE_CHECKING:
    from napari_cytosae.core.types import BoolArray, Float64Array, Int64Array

COVERAGE = 0.9
"""Share of patients whose class is meant to be in their prediction set."""

BINS = 10


def temperature(
    scores: Float64Array, labels: Int64Array, counted: Float64Array | None = None
) -> tuple[float, float]:
    """Factor that makes held-out scores the most likely logits, and the log-loss then.

    Parameters
    ----------
    scores : ndarray of float64, (n, n_classes)
        Of patients that the classifier did not see.
    labels : ndarray of int, (n,)
        Their classes.
    counted : ndarray of float64, (n,), optional
        How much each of them counts; all the same by default.
    """
    rows = np.arange(len(labels))

    def loss(log_factor: float) -> float:
        logits = np.exp(log_factor) * scores
        true = log_softmax(logits, axis=1)[rows, labels]
        return float(-np.average(true, weights=counted))

    found = minimize_scalar(loss, bounds=(-4, 4), method="bounded")
    return float(np.exp(found.x)), float(found.fun)


def probabilities(logits: Float64Array) -> Float64Array:
    """Softmax of each row."""
    return np.asarray(softmax(logits, axis=1), dtype=np.float64)


def calibration_curve(
    p: Float64Array, labels: Int64Array, bins: int = BINS
) -> list[tuple[float, float, int]]:
    """Confidence, accuracy and number of patients, by confidence."""
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        (float(confidence[chosen].mean()), float(hit[chosen].mean()), int(chosen.sum()))
        for chosen in (index == i for i in range(bins))
        if chosen.any()
    ]


def calibration_error(p: Float64Array, labels: Int64Array, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of confidence and accuracy."""
    curve = calibration_curve(p, labels, bins)
    return sum(n * abs(said - true) for said, true, n in curve) / max(len(labels), 1)


def conformal_limit(
    p: Float64Array, labels: Int64Array, coverage: float = COVERAGE
) -> float:
    """Probability from which on a class belongs to the prediction set.

    Split-conformal: at least `coverage` of new patients have their class in the set when
    they are like those of `p`.

    Parameters
    ----------
    p : ndarray of float64, (n, n_classes)
        Probabilities of patients that the classifier did not see.
    labels : ndarray of int, (n,)
        Their classes.
    coverage : float
        Share of true classes inside.
    """
    true = np.sort(p[np.arange(len(labels)), labels])
    # In whole numbers: 20 * (1 - 0.9) is a little less than 2 in floating point.
    share = Fraction(str(coverage))
    rank = len(labels) + 1 - ceil((len(labels) + 1) * share)
    return float(true[rank - 1]) if rank >= 1 else 0.0


def prediction_sets(p: Float64Array, limit: float) -> BoolArray:
    """Classes of each patient's set, (n, n_classes).

    Empty where no class is as likely as nine in ten training patients' own: with the most
    probable one forced in, the sets would contain the truth too often, and a patient
    between two classes would get an answer.
    """
    inside: BoolArray = p >= limit
    return inside

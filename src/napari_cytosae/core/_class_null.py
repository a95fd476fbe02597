"""How far a patient of a class may lie from its mean, as the class's own patients do.

A concept is absent in most patients: a t distribution takes the few that show it for a
hundred findings. Each training patient against all others of his class tells how far one
more patient lies; the concepts share that tail, as in SAM (Tusher et al., PNAS 2001).
``benchmarks/class_null.py`` compares it with t tests (Crawford and Howell 1998): where
concepts are rare and skewed those have findings in nearly all of the class's own patients;
where they have not, they find hardly more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float32Array, Float64Array, Int64Array

FEWEST = 3
"""Patients of a class, to take one out of."""

STEPS = 60
"""Of the tail that is kept."""

LEAST_DEVIATION = 1e-12
"""In the place of none, as of a single patient."""


def distances(
    x: Float64Array, mean: Float64Array, deviation: Float64Array, n: int
) -> tuple[Int64Array, Float64Array, Float64Array]:
    """Distance of a patient from `n` others: columns that any shows, distance, its unit.

    Parameters
    ----------
    x, mean, deviation : ndarray of float64, (k,)
        The patient, and the others.
    n : int
        How many the others are.
    """
    shown = np.flatnonzero((x > 0) | (mean > 0))
    # A concept that hardly varies in a few patients may vary in the next: no deviation is
    # taken for smaller than the median one.
    floor = float(np.median(deviation[shown])) if len(shown) else 0.0
    unit = np.maximum(deviation[shown], max(floor, LEAST_DEVIATION)) * np.sqrt(1 + 1 / n)
    return shown, (x[shown] - mean[shown]) / unit, unit


def null_tail(rows: Float64Array) -> tuple[Float64Array, int]:
    """Distances that ever fewer of a class's own reach, and how many there are.

    Parameters
    ----------
    rows : ndarray of float64, (n, k)
        Shares of the class's patients.

    Returns
    -------
    tail : ndarray of float64, (STEPS,)
        Beyond the j-th, from 1, p is ``(size + 1) ** (-j / STEPS)``.
    size : int
        0, and the tail too, with fewer than `FEWEST` patients.
    """
    n = len(rows)
    if n < FEWEST:
        return np.zeros(STEPS), 0
    found = []
    for one in range(n):
        others = np.delete(rows, one, axis=0)
        deviation = others.std(axis=0, ddof=1)
        found.append(distances(rows[one], others.mean(axis=0), deviation, n - 1)[1])
    known = np.sort(np.abs(np.concatenate(found)))
    return tail_of(known, STEPS), len(known)


def tail_of(known: Float32Array | Float64Array, steps: int) -> Float64Array:
    """Values that ever fewer of the sorted `known` reach, (steps,), as of `null_tail`."""
    size = len(known)
    p = (size + 1) ** (-np.arange(1, steps + 1) / steps)
    beyond = np.floor(p * (size + 1) * (1 + 1e-12) - 1).astype(np.int64)
    tail: Float64Array = known[size - 1 - np.maximum(beyond, 0)].astype(np.float64)
    return tail


def p_values(distance: Float64Array, tail: Float64Array, size: int) -> Float64Array:
    """Share of the null's distances that are as large; NaN where there is no null."""
    if not size:
        return np.full(len(distance), np.nan)
    step = np.searchsorted(tail, np.abs(distance), side="left")
    p: Float64Array = (size + 1.0) ** (-step / len(tail))
    return p

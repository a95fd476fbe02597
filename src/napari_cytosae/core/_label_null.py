"""How much more of a concept a class may show by chance: its label on any other patients.

The patients' labels are shuffled, and all concepts share the null distribution, as in SAM
(Tusher et al., PNAS 2001, doi:10.1073/pnas.091062498). The statistic is the mean over the
class, standardised by what it varies when any patients may make up the class (Strasser and
Weber 1999). ``benchmarks/class_concepts.py`` compares it with t and rank tests: ranks have
false findings where few patients show a concept, and t tests on roots find none in the
published patients; it also tells how far findings agree that come from other shuffles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._class_null import p_values, tail_of

if TYPE_CHECKING:
    from scipy import sparse

    from napari_cytosae.core.types import BoolArray, Float64Array, Int64Array

FEWEST = 3
"""Patients of a class, and others."""

STEPS = 200
"""Of the tail that is kept."""

_DRAWN = 20_000_000
"""Values of the null: their number decides how small a p may be, and how long it takes."""

_SHUFFLES = 400, 8000
_TOGETHER = 250
"""Concepts of a shuffle. Patients who resemble each other and come together by chance raise
many concepts at once; with other shuffles for other concepts, no single one decides."""

_ROUNDING = 1e-5
"""Seven digits of the moments are kept on disk: what differs by less is the same."""


def excess(
    means: Float64Array, deviations: Float64Array, counts: Int64Array
) -> Float64Array:
    """How much more each class shows than all patients together, standardised.

    Parameters
    ----------
    means, deviations : ndarray of float64, (n_classes, k)
        Of the square roots of the shares, over the patients of a class.
    counts : ndarray of int64, (n_classes,)
        Patients.

    Returns
    -------
    ndarray of float64, (n_classes, k)
        0 where nothing varies.
    """
    n = counts.astype(np.float64)[:, None]
    total = n.sum()
    mean = (n * means).sum(axis=0) / total
    squares = ((n - 1) * deviations**2 + n * (means - mean) ** 2).sum(axis=0)
    return _standardised(means - mean, n, total, mean, squares / total)


def label_tail(
    roots: sparse.csr_array,
    labels: Int64Array,
    groups: Int64Array,
    index: int,
    seed: int = 0,
) -> tuple[Float64Array, int]:
    """Excess that ever fewer concepts reach under shuffled labels, and how many there are.

    Parameters
    ----------
    roots : csr_array of float64, (n, k)
        Square roots of the patients' shares.
    labels : ndarray of int64, (n,)
        Class of each.
    groups : ndarray of int64, (n,)
        Of `_copies.kept_together`: what is of one patient is shuffled as one.
    index : int
        The class.
    seed : int
        Of the shuffles.

    Returns
    -------
    tail : ndarray of float64, (STEPS,)
        As of `_class_null.null_tail`.
    size : int
        0, and the tail too, with fewer than `FEWEST` groups in the class or outside.
    """
    names, first = np.unique(groups, return_index=True)
    inside = labels[first] == index
    if not FEWEST <= inside.sum() <= len(inside) - FEWEST:
        return np.zeros(STEPS), 0
    total = len(labels)
    mean = np.asarray(roots.sum(axis=0)) / total
    variance = np.asarray(roots.power(2).sum(axis=0)) / total - mean**2
    shown = _varies(mean, variance)
    roots, mean, variance = roots[:, shown], mean[shown], variance[shown]
    if not len(mean):
        return np.zeros(STEPS), 0
    rng = np.random.default_rng(seed)
    shuffles = int(np.clip(_DRAWN // len(mean), *_SHUFFLES))
    place = np.searchsorted(names, groups)
    columns = roots.tocsc()
    known = np.empty((shuffles, len(mean)), np.float32)
    for start in range(0, len(mean), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        drawn = rng.permuted(np.tile(inside, (shuffles, 1)), axis=1)[:, place]
        n = drawn.sum(axis=1)[:, None].astype(np.float64)
        apart = drawn.astype(np.float64) @ columns[:, some].toarray() / n - mean[some]
        known[:, some] = _standardised(apart, n, total, mean[some], variance[some])
    every = known.reshape(-1)
    every.sort()
    return tail_of(every, STEPS), len(every)


def p_of(found: Float64Array, tail: Float64Array, size: int) -> Float64Array:
    """One-sided p of `excess`; NaN where there is no null, 1 where it is none."""
    p = p_values(np.maximum(found, 0) * (1 - _ROUNDING), tail, size)
    return np.where((found > 0) | np.isnan(p), p, 1.0)


def _varies(mean: Float64Array, variance: Float64Array) -> BoolArray:
    found: BoolArray = variance > (_ROUNDING * mean) ** 2
    return found


def _standardised(
    apart: Float64Array,
    n: Float64Array,
    total: float,
    mean: Float64Array,
    variance: Float64Array,
) -> Float64Array:
    """In standard deviations of a mean over `n` of `total` patients, none drawn twice."""
    shown = _varies(mean, variance)
    unit = np.sqrt(np.where(shown, variance, 1)) * np.sqrt((total - n) / n / (total - 1))
    found: Float64Array = np.where(shown, apart / np.maximum(unit, 1e-300), 0)
    return found

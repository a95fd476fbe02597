"""What sets some cells apart from the others, and which others are like them.

Rank statistics over the sparse activations: each concept's stored entries are sorted once,
the zeros are counted; nothing of the size cells x concepts is made dense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy.sparse import csr_array

    from napari_cytosae.core.types import BoolArray, Float64Array, Int64Array

MIN_GROUP = 3
"""With fewer cells on either side no p-value says anything: the FDR stays unknown."""

ENRICHED = 20
"""Concepts that `enriched` keeps to search with."""


def selection_mask(rows: npt.ArrayLike, n: int) -> BoolArray:
    """Which of `n` cells are selected, from row numbers or a mask."""
    index = np.asarray(rows)
    if index.dtype == bool:
        return index
    mask = np.zeros(n, dtype=bool)
    mask[index.astype(np.int64)] = True
    return mask


def compare(values: csr_array, rows: npt.ArrayLike) -> pd.DataFrame:
    """Compare some cells with all others, concept by concept.

    Parameters
    ----------
    values : csr_array, (n, d_sae)
        One of `ConceptActivations`, for example the mean over the patches; >= 0.
    rows : array_like of int or of bool
        The selected cells.

    Returns
    -------
    DataFrame
        Index ``concept``, those that fire in at least one cell. ``effect`` is the
        rank-biserial correlation 2 U / (k (n - k)) - 1 of the Mann-Whitney U: 1 where all
        selected cells have more of the concept than all others, 0 where nothing differs,
        -1 where they have less (Kerby 2014, doi:10.2466/11.IT.3.1). ``p`` is two-sided,
        from the normal approximation with correction for ties and continuity, as in
        `scipy.stats.mannwhitneyu`; ``fdr`` is p after Benjamini and Hochberg over the
        concepts returned. Both are NaN with fewer than `MIN_GROUP` cells on a side.
    """
    from scipy.stats import false_discovery_control

    n = values.shape[0]
    chosen = selection_mask(rows, n)
    k = int(chosen.sum())
    rank_sum, ties, concept = _rank_sums(values, chosen)
    rest = n - k
    if not k or not rest:
        empty = np.full(len(concept), np.nan)
        return _frame(concept, empty, empty, empty)
    u = rank_sum - k * (k + 1) / 2
    effect = 2 * u / (k * rest) - 1
    if min(k, rest) < MIN_GROUP:
        unknown = np.full(len(concept), np.nan)
        return _frame(concept, effect, unknown, unknown)
    p = _p_values(u, ties, k, rest)
    fdr = false_discovery_control(p) if len(p) else p
    return _frame(concept, effect, p, fdr)


def enriched(
    values: csr_array, rows: npt.ArrayLike, limit: int = ENRICHED
) -> dict[int, float]:
    """Concepts that the selected cells share and the others lack, with their weights.

    A concept counts where more than half of the selected cells have it. Its weight is the
    difference of the two groups' means in standard deviations over all cells, so that what
    fires everywhere weighs nothing.

    Parameters
    ----------
    values : csr_array, (n, d_sae)
        As for `compare`.
    rows : array_like of int or of bool
        The examples.
    limit : int
        Concepts kept, those of the largest weights.

    Returns
    -------
    dict of concept to weight
        All weights are positive; the largest first. Empty where nothing sets them apart.
    """
    n = values.shape[0]
    chosen = selection_mask(rows, n)
    k = int(chosen.sum())
    if not 0 < k < n:
        return {}
    part = values[chosen]
    here = _sums(part) / k
    total = _sums(values)
    squares = np.bincount(
        values.indices, values.data.astype(np.float64) ** 2, values.shape[1]
    )
    spread = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0))
    rest = (total - here * k) / (n - k)
    shared = np.bincount(part.indices[part.data > 0], minlength=values.shape[1]) > k / 2
    found = np.flatnonzero(shared & (here > rest) & (spread > 1e-6 * here))
    weight = (here[found] - rest[found]) / spread[found]
    order = np.argsort(-weight, kind="stable")[:limit]
    return {int(found[i]): float(weight[i]) for i in order}


def likeness(
    values: csr_array, rows: npt.ArrayLike, wanted: dict[int, float]
) -> Float64Array:
    """How much each cell is like the examples: its share of what they have in common.

    For concept k with weight w and the examples' mean m, a cell's share is min(a / m, 1);
    the likeness is the mean of the shares, weighted by w.

    Parameters
    ----------
    values : csr_array, (n, d_sae)
        As for `compare`.
    rows : array_like of int or of bool
        The examples.
    wanted : dict of concept to weight
        Of `enriched`.

    Returns
    -------
    ndarray of float64, (n,)
        0 (nothing of it) to 1 (at least as much of each concept); 0 where `wanted` is
        empty.
    """
    n = values.shape[0]
    if not wanted:
        return np.zeros(n)
    concepts = np.fromiter(wanted, dtype=np.int64)
    weights = np.fromiter(wanted.values(), dtype=np.float64)
    found = values[:, concepts].toarray().astype(np.float64)
    examples = found[selection_mask(rows, n)].mean(axis=0)
    share = np.minimum(found / examples, 1)
    result: Float64Array = share @ weights / weights.sum()
    return result


def _rank_sums(
    values: csr_array, chosen: BoolArray
) -> tuple[Float64Array, Float64Array, Int64Array]:
    """Rank sum of the selected cells, tie term sum(t^3 - t), and id, of each concept."""
    n = values.shape[0]
    entries = values.tocoo()
    positive = entries.data > 0
    row, column = (index[positive] for index in entries.coords)
    data = entries.data[positive]
    order = np.lexsort((data, column))
    row, column, data = row[order], column[order], data[order]
    concept, first, count = np.unique(column, return_index=True, return_counts=True)
    of_concept = np.repeat(np.arange(len(concept)), count)
    zeros = n - count
    # Runs of equal values within a concept share their mean rank.
    new_run = np.ones(len(data), dtype=bool)
    new_run[1:] = (data[1:] != data[:-1]) | (column[1:] != column[:-1])
    start = np.flatnonzero(new_run)
    length = np.diff(np.append(start, len(data)))
    of_run = np.repeat(np.arange(len(start)), length)
    within = start - first[of_concept[start]]
    rank = (zeros[of_concept[start]] + within + (length + 1) / 2)[of_run]
    mine = chosen[row]
    stored = np.bincount(of_concept[mine], rank[mine], len(concept))
    silent = chosen.sum() - np.bincount(of_concept[mine], minlength=len(concept))
    run_ties = length.astype(np.float64) ** 3 - length
    ties = np.bincount(of_concept[start], run_ties, len(concept)) + (
        zeros.astype(np.float64) ** 3 - zeros
    )
    rank_sum = stored + silent * (zeros + 1) / 2
    return rank_sum, ties, concept.astype(np.int64)


def _p_values(u: Float64Array, ties: Float64Array, k: int, rest: int) -> Float64Array:
    from scipy.special import ndtr

    n = k + rest
    variance = k * rest / 12 * (n + 1 - ties / (n * (n - 1)))
    distance = np.maximum(np.abs(u - k * rest / 2) - 0.5, 0)
    z = np.divide(
        distance,
        np.sqrt(np.maximum(variance, 0)),
        out=np.zeros_like(u),
        where=variance > 1e-9,
    )
    p: Float64Array = 2 * ndtr(-z)
    return p


def _sums(values: csr_array) -> Float64Array:
    return np.bincount(values.indices, values.data, values.shape[1]).astype(np.float64)


def _frame(
    concept: Int64Array, effect: Float64Array, p: Float64Array, fdr: Float64Array
) -> pd.DataFrame:
    return pd.DataFrame(
        {"effect": effect, "p": p, "fdr": fdr}, index=pd.Index(concept, name="concept")
    )

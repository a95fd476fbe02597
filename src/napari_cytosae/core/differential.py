"""A white-cell differential: a few cells are called by hand, the rest is proposed.

The proposals come from a small calibrated classifier of the cells' concepts. Counts carry
intervals that know of both: how many cells there are, and how sure the proposals are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]

from napari_cytosae.core._calibration import probabilities, temperature
from napari_cytosae.core._recipes import Logistic, dual
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.types import Float64Array, Int64Array

FEWEST = 3
"""Called cells that each of two types needs before anything is proposed."""

COUNTS = (100, 200)
"""Cells of a differential count by eye."""

_RECIPE = Logistic("sqrt", 10.0)
_DRAWS = 4000
_PRIOR = 0.5
"""Of the shares (Jeffreys): a type that was not seen may still be there."""


@dataclass(frozen=True, slots=True, eq=False)
class Differential:
    """What each cell is, called or proposed.

    Attributes
    ----------
    types : tuple of str
    p : ndarray of float64, (n, n_types)
        1 for what was called.
    called : ndarray of bool, (n,)
    """

    types: tuple[str, ...]
    p: Float64Array
    called: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def doubtful_first(self) -> Int64Array:
        """Cells to look at: the least sure proposals first, called ones last."""
        sureness = np.where(self.called, 2.0, self.p.max(axis=1))
        return np.argsort(sureness, kind="stable").astype(np.int64)

    def proposed(self, cell: int) -> tuple[str, float]:
        """Most probable type of a cell, and its probability."""
        best = int(self.p[cell].argmax())
        return self.types[best], float(self.p[cell, best])


def propose(counts: sparse.csr_array, called: Mapping[int, str]) -> Differential:
    """Propose the type of every cell that was not called.

    Parameters
    ----------
    counts : csr_array, (n, k)
        Token counts of the patient's cells.
    called : mapping of int to str
        Type of some rows; two types with `FEWEST` cells at least. Types with fewer count
        where they were called, and are not proposed.

    Raises
    ------
    CytoError
        If too few cells were called.
    """
    names = sorted(set(called.values()))
    rows = np.array(sorted(called), dtype=np.int64)
    labels = np.array([names.index(called[int(row)]) for row in rows], dtype=np.int64)
    enough = np.flatnonzero(np.bincount(labels, minlength=len(names)) >= FEWEST)
    if len(enough) < 2:
        raise CytoError(
            f"Call {FEWEST} cells of each of two types at least; the rest is then proposed."
        )
    taught = np.isin(labels, enough)
    scores, logits = _scores(
        counts, rows[taught], np.searchsorted(enough, labels[taught]), len(enough)
    )
    factor, _ = temperature(logits, np.searchsorted(enough, labels[taught]))
    p = np.zeros((counts.shape[0], len(names)))
    # However well a few cells were told apart, the next may be another matter.
    doubt = 1 / (taught.sum() + 2)
    p[:, enough] = (1 - doubt) * probabilities(scores * factor) + doubt / len(enough)
    p[rows] = np.eye(len(names))[labels]
    mask = np.zeros(counts.shape[0], bool)
    mask[rows] = True
    return Differential(tuple(names), p, mask)


def count_table(found: Differential) -> pd.DataFrame:
    """The differential: shares, and what a count by eye would find, with 95 % intervals.

    Returns
    -------
    DataFrame
        ``type, called, expected`` (cells of the patient), ``share, low, high``, and for
        each of `COUNTS` ``count_<n>, low_<n>, high_<n>``. Shares are drawn from their
        posterior (Dirichlet, Jeffreys prior, expected cells as evidence), counts from the
        multinomial distribution of those shares.
    """
    expected = found.p.sum(axis=0)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(expected + _PRIOR, size=_DRAWS)
    share = expected / max(expected.sum(), 1)
    low, high = np.quantile(shares, (0.025, 0.975), axis=0)
    called = (found.p[found.called] > 0.5).sum(axis=0)
    table = {
        "type": list(found.types),
        "called": called,
        "expected": expected,
        "share": share,
        "low": low,
        "high": high,
    }
    for total in COUNTS:
        drawn = np.array([rng.multinomial(total, one) for one in shares])
        bounds = np.quantile(drawn, (0.025, 0.975), axis=0, method="inverted_cdf")
        table[f"count_{total}"] = share * total
        table[f"low_{total}"], table[f"high_{total}"] = bounds.astype(np.int64)
    return pd.DataFrame(table)


def _scores(
    counts: sparse.csr_array, rows: Int64Array, labels: Int64Array, n_types: int
) -> tuple[Float64Array, Float64Array]:
    """Scores of all cells, and those of the called ones by classifiers without them."""
    sums = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    root = sparse.csr_array(sparse.diags_array(1 / sums) @ counts).sqrt()
    across = (root @ root[rows].T).toarray().astype(np.float64)
    everyone = np.arange(len(rows))
    scores = _fitted(across, across[rows], everyone, labels, n_types)
    held_out = np.zeros((len(rows), n_types))
    folds = StratifiedKFold(FEWEST, shuffle=True, random_state=0)
    for train, test in folds.split(rows[:, None], labels):
        held_out[test] = _fitted(
            across[rows[test]][:, train],
            across[rows[train]][:, train],
            np.arange(len(train)),
            labels[train],
            n_types,
        )
    return scores, held_out


def _fitted(
    across: Float64Array,
    inner: Float64Array,
    chosen: Int64Array,
    labels: Int64Array,
    n_types: int,
) -> Float64Array:
    gram = inner[np.ix_(chosen, chosen)]
    weights, intercept = dual(_RECIPE, gram, labels, n_types)
    scores = (across[:, chosen] - gram.mean(axis=0)) @ weights + intercept
    centred: Float64Array = scores - scores.mean(axis=1, keepdims=True)
    return centred

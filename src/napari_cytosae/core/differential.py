"""A white-cell differential: a few cells are called by hand, the rest is proposed.

The proposals come from a small calibrated classifier of the cells' concepts. Counts carry
intervals that know how many cells there are, how few taught the classifier, how little it
may tell types apart, and that those who call rare cells leave fewer of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from napari_cytosae.core._calibration import probabilities, temperature
from napari_cytosae.core._recipes import Logistic, dual
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.reading import Reading
    from napari_cytosae.core.types import BoolArray, Float64Array, Int64Array

FEWEST = 3
"""Called cells that each of two types needs before anything is proposed."""

COUNTS = (100, 200)
"""Cells of a differential count by eye."""

_RECIPE = Logistic("sqrt", 10.0)
_DRAWS = 4000
_RESAMPLED = 40
_CHAINS, _SWEEPS, _KEPT = 5, 30, 10
"""Of the Gibbs sampler, for each of `_RESAMPLED`."""

_FOLDS = 10
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
    draws : ndarray of float64, (m, n_types)
        How many cells of each type there may be: what the intervals know of the proposals'
        own uncertainty.
    """

    types: tuple[str, ...]
    p: Float64Array
    called: BoolArray
    draws: Float64Array

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
    chosen, known = rows[taught], np.searchsorted(enough, labels[taught])
    across = _products(counts, chosen)
    held_out = _held_out(across[chosen], known)
    rest = np.setdiff1d(np.arange(counts.shape[0]), rows)

    def told(counted: Float64Array | None = None) -> Float64Array:
        """Likelihood of the types in each cell not called, when called ones count so."""
        factor, _ = temperature(held_out, known, counted)
        scores = _fitted(across[rest], across[chosen], known, counted)
        # However well a few cells were told apart, the next may be another matter.
        doubt = 1 / (len(chosen) + 2)
        said = (1 - doubt) * probabilities(scores * factor) + doubt / len(enough)
        likelihood: Float64Array = said / np.bincount(known)
        return likelihood

    rng = np.random.default_rng(0)
    drawn = np.concatenate(
        [_compositions(told(_counted(known, rng)), rng) for _ in range(_RESAMPLED)]
    )
    draws = np.tile(np.bincount(labels, minlength=len(names)), (len(drawn), 1))
    draws[:, enough] += drawn
    p = np.zeros((counts.shape[0], len(names)))
    likely = told() * (drawn.mean(axis=0) + _PRIOR)
    p[np.ix_(rest, enough)] = likely / likely.sum(axis=1, keepdims=True)
    p[rows] = np.eye(len(names))[labels]
    mask = np.zeros(counts.shape[0], bool)
    mask[rows] = True
    return Differential(tuple(names), p, mask, draws.astype(np.float64))


def count_table(found: Differential) -> pd.DataFrame:
    """The differential: shares, and what a count by eye would find, with 95 % intervals.

    Returns
    -------
    DataFrame
        ``type, called, expected`` (cells of the patient), ``share, low, high``, and for
        each of `COUNTS` ``count_<n>, low_<n>, high_<n>``. Shares are drawn from their
        posterior (Dirichlet, Jeffreys prior, expected cells as evidence) under one of
        `Differential.draws`, counts from the multinomial distribution of those shares.
    """
    expected = found.p.sum(axis=0)
    rng = np.random.default_rng(0)
    evidence = found.draws[rng.integers(len(found.draws), size=_DRAWS)] + _PRIOR
    gamma = rng.gamma(evidence)
    shares = gamma / gamma.sum(axis=1, keepdims=True)
    share = expected / max(expected.sum(), 1)
    low, high = np.quantile(shares, (0.025, 0.975), axis=0)
    low, high = np.minimum(low, share), np.maximum(high, share)
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


def cell_table(reading: Reading, found: Differential) -> pd.DataFrame:
    """One row a cell: ``patient, image, cell_id, type, source, probability``."""
    rows = []
    for position, row in enumerate(reading.rows):
        index, inside = reading.case.where(int(row))
        image = reading.case.images[index]
        name, p = found.proposed(position)
        source = "called" if found.called[position] else "proposed"
        cell_id = int(image.encoded.cell_ids[inside])
        rows.append((reading.case.patient, image.name, cell_id, name, source, p))
    columns = ["patient", "image", "cell_id", "type", "source", "probability"]
    return pd.DataFrame(rows, columns=columns)


def _compositions(likelihood: Float64Array, rng: np.random.Generator) -> Int64Array:
    """How many of the cells may be of each type, (`_CHAINS` * `_KEPT`, n_types).

    Types are as frequent among these cells as the cells themselves say, not as those that
    were called: an analyst calls rare types as often as common ones, and what is called is
    no longer among the rest. Shares and types are drawn in turn (Gibbs sampler of a mixture
    with known components and a Jeffreys prior), so that what cannot be told apart stays
    open; the most likely shares alone (Saerens et al. 2002) would hide it.
    """
    n, k = likelihood.shape
    share = rng.dirichlet(np.ones(k), _CHAINS)
    found = []
    for sweep in range(_SWEEPS):
        p = np.cumsum(share[:, None] * likelihood, axis=2)
        drawn = (rng.random((_CHAINS, n, 1)) * p[:, :, -1:] >= p).sum(axis=2)
        of_type = np.stack([(drawn == label).sum(axis=1) for label in range(k)], axis=1)
        gamma = rng.gamma(of_type + _PRIOR)
        share = gamma / gamma.sum(axis=1, keepdims=True)
        if sweep >= _SWEEPS - _KEPT:
            found.append(of_type)
    return np.concatenate(found)


def _products(counts: sparse.csr_array, rows: Int64Array) -> Float64Array:
    """Inner products of all cells with some, of their root shares, (n, len(rows))."""
    sums = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    root = sparse.csr_array(sparse.diags_array(1 / sums) @ counts).sqrt()
    products: Float64Array = (root @ root[rows].T).toarray().astype(np.float64)
    return products


def _held_out(gram: Float64Array, labels: Int64Array) -> Float64Array:
    """Scores of the called cells by classifiers that have not seen them.

    No fold has two cells of a type that is called no oftener than there are folds, so that
    the classifiers know nearly as much as the one that proposes.
    """
    mixed = np.random.default_rng(0).permutation(len(labels))
    order = mixed[np.argsort(labels[mixed], kind="stable")]
    of_type = np.bincount(labels)
    inside = np.arange(len(labels)) - np.repeat(np.cumsum(of_type) - of_type, of_type)
    fold = np.empty(len(labels), np.int64)
    fold[order] = inside % _FOLDS
    scores = np.zeros((len(labels), len(of_type)))
    for test in (fold == one for one in np.unique(fold)):
        inner = gram[np.ix_(~test, ~test)]
        scores[test] = _fitted(gram[np.ix_(test, ~test)], inner, labels[~test])
    return scores


def _fitted(
    across: Float64Array,
    gram: Float64Array,
    labels: Int64Array,
    counted: Float64Array | None = None,
) -> Float64Array:
    weights, intercept = dual(_RECIPE, gram, labels, int(labels.max()) + 1, counted)
    scores = (across - gram.mean(axis=0)) @ weights + intercept
    centred: Float64Array = scores - scores.mean(axis=1, keepdims=True)
    return centred


def _counted(labels: Int64Array, rng: np.random.Generator) -> Float64Array:
    """How much each called cell counts in a draw of the Bayesian bootstrap (Rubin 1981).

    Types keep their weight. No cell is lost, as in a plain bootstrap, which of few cells
    leaves too few different ones.
    """
    drawn = rng.exponential(size=len(labels))
    of_type = np.bincount(labels)
    return drawn * (of_type / np.bincount(labels, drawn))[labels]

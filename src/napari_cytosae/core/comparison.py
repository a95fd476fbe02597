"""A patient against another one: where they differ, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse, stats

from napari_cytosae.core import enrichment
from napari_cytosae.core._bootstrap import (
    LEVEL,
    bounds_of,
    replicate_means,
    replicate_shares,
)
from napari_cytosae.core.patient_cells import barcode

if TYPE_CHECKING:
    from napari_cytosae.core.patients import Barcodes
    from napari_cytosae.core.types import Float64Array, Int64Array

COLUMNS = ("here", "there", "difference", "low", "high", "effect", "p", "fdr")
"""Of a comparison's table, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two barcodes, concept by concept.

    Attributes
    ----------
    here, there : str
        What is compared with what.
    concepts : ndarray of int64, (k,)
    values, others : ndarray of float64, (k,)
        The two barcodes, in `unit`.
    table : DataFrame
        Index ``concept``, of those that either shows, the surest and largest difference
        first; columns `COLUMNS`.
    unit : str
    effect : str
        What the effect size is.
    """

    here: str
    there: str
    concepts: Int64Array
    values: Float64Array
    others: Float64Array
    table: pd.DataFrame
    unit: str
    effect: str


def between_patients(
    here: tuple[str, sparse.csr_array],
    there: tuple[str, sparse.csr_array],
    concepts: Int64Array,
) -> Comparison:
    """Compare the cells of two patients.

    Parameters
    ----------
    here, there : (str, csr_array (n_cells, k))
        Name and token counts, with the same columns.
    concepts : ndarray of int64, (k,)
        Ids of the columns.

    Returns
    -------
    Comparison
        In patches a cell. The effect is the rank-biserial correlation of
        `enrichment.compare`, whose p-values hold for cells: they say nothing of other
        patients. The interval of the difference is a bootstrap over the cells.

    Raises
    ------
    CytoError
        If a patient has no cell.
    """
    counts = sparse.csr_array(sparse.vstack([here[1], there[1]], format="csr"))
    first = np.arange(counts.shape[0]) < here[1].shape[0]
    values, others = barcode(here[1]), barcode(there[1])
    table = enrichment.compare(counts, first)
    columns = table.index.to_numpy()
    low, high = np.zeros(len(columns)), np.zeros(len(columns))
    draws = zip(
        replicate_means(here[1], columns),
        replicate_means(there[1], columns, seed=1),
        strict=True,
    )
    for (part, ours), (_, theirs) in draws:
        low[part], high[part] = bounds_of(ours - theirs)
    table = table_of(values[columns], others[columns], low, high, table)
    table.index = pd.Index(concepts[columns], name="concept")
    return Comparison(
        here[0],
        there[0],
        concepts,
        values,
        others,
        surest_first(table),
        "patches a cell",
        "rank-biserial correlation of the cells",
    )


def with_barcode(
    here: tuple[str, sparse.csr_array],
    there: tuple[str, Barcodes],
    concepts: Int64Array,
) -> Comparison:
    """Compare the cells of a patient with the barcode of another one, whose cells are gone.

    Parameters
    ----------
    here : (str, csr_array (n_cells, k))
        Name and token counts.
    there : (str, Barcodes)
        Name, and a table of one row with the same columns.
    concepts : ndarray of int64, (k,)
        Ids of the columns.

    Returns
    -------
    Comparison
        In shares of the barcode. The effect is the difference of the root shares, from -1
        to 1. Where the other barcode has a bootstrap interval, p is that of a normal
        difference with both bootstrap errors, which holds for cells and says nothing of
        other patients; without one, intervals and p are NaN.

    Raises
    ------
    CytoError
        If the patient has no cell.
    """
    other = there[1]
    mine = barcode(here[1])
    theirs = other.values.toarray()[0].astype(np.float64)
    totals = max(mine.sum(), 1e-12), max(theirs.sum(), 1e-12)
    values, others = mine / totals[0], theirs / totals[1]
    shown = np.flatnonzero((values > 0) | (others > 0))
    x, y = values[shown], others[shown]
    error = np.full(len(shown), np.nan)
    if other.low is not None and other.high is not None and here[1].shape[0] > 1:
        for part, shares in replicate_shares(here[1], shown):
            error[part] = shares.std(axis=1)
        width = (other.high - other.low).toarray()[0, shown] / totals[1]
        error = np.hypot(error, width / (2 * stats.norm.ppf((1 + LEVEL) / 2)))
        # What a few cells happen to show in equal parts may vary in others.
        error = np.maximum(error, max(float(np.median(error)), 1e-12)) if len(x) else error
    p = 2 * stats.norm.sf(np.abs(x - y) / error)
    found = pd.DataFrame(
        {"effect": np.sqrt(x) - np.sqrt(y), "p": p, "fdr": fdr_of(p)},
        index=pd.Index(concepts[shown], name="concept"),
    )
    reach = stats.norm.ppf(0.975) * error
    table = table_of(x, y, x - y - reach, x - y + reach, found)
    return Comparison(
        here[0],
        there[0],
        concepts,
        values,
        others,
        surest_first(table),
        "shares of the barcode",
        "difference of the root shares",
    )


def fdr_of(p: Float64Array) -> Float64Array:
    """Benjamini and Hochberg; unknown where p is."""
    known = len(p) > 0 and not np.isnan(p).any()
    fdr: Float64Array = stats.false_discovery_control(p) if known else p
    return fdr


def table_of(
    here: Float64Array,
    there: Float64Array,
    low: Float64Array,
    high: Float64Array,
    found: pd.DataFrame,
) -> pd.DataFrame:
    """Both barcodes, their difference with its interval, and what `found` says of it."""
    table = found.assign(
        here=here, there=there, difference=here - there, low=low, high=high
    )
    return table.loc[:, list(COLUMNS)]


def surest_first(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by FDR and size of the effect, or of the difference where no effect is known."""
    size = table["effect" if table["effect"].notna().any() else "difference"].abs()
    order = np.lexsort(
        (
            table.index.to_numpy(),
            -size.fillna(0).to_numpy(),
            table["fdr"].fillna(1).to_numpy(),
        )
    )
    return table.iloc[order]

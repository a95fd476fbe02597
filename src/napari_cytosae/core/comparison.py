"""Patients against each other and against diseases: where they differ, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse, stats

from napari_cytosae.core import enrichment
from napari_cytosae.core._recipes import transformed
from napari_cytosae.core.patients import barcode, replicate_means
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from napari_cytosae.core.heads import Head
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
        low[part], high[part] = np.quantile(ours - theirs, (0.025, 0.975), axis=1)
    table = _table(values[columns], others[columns], low, high, table)
    table.index = pd.Index(concepts[columns], name="concept")
    return Comparison(
        here[0],
        there[0],
        concepts,
        values,
        others,
        _surest_first(table),
        "patches a cell",
        "rank-biserial correlation of the cells",
    )


def with_class(
    head: Head, label: str, patient: str, values: sparse.csr_array
) -> Comparison:
    """Compare a patient with a head's training patients of one class.

    Parameters
    ----------
    head : Head
        With `Head.profiles`.
    label : str
        One of its classes.
    patient : str
        Name.
    values : csr_array, (1, k)
        The barcode, with the columns of `Head.columns`.

    Returns
    -------
    Comparison
        In shares of the barcode. The effect is the distance from the class's mean in its
        standard deviations; p is that of one more patient of the class (t distribution
        with a prediction interval), and so is the interval of the difference.

    Raises
    ------
    CytoError
        If the head does not know the class, or keeps no profiles.
    """
    if label not in head.classes or head.profiles is None:
        raise CytoError(f"The head knows no barcode of {label}: train it again.")
    index = head.classes.index(label)
    profile = head.profiles
    x = transformed(values, "fraction")[0].astype(np.float64)
    mean, deviation = profile.means[index], profile.deviations[index]
    n = int(profile.counts[index])
    shown = np.flatnonzero((x > 0) | (mean > 0))
    # A concept that hardly varies in a few patients may vary in the next: no deviation is
    # taken for smaller than the median one.
    floor = np.median(deviation[shown]) if len(shown) else 0.0
    spread = np.maximum(deviation[shown], max(floor, 1e-12)) * np.sqrt(1 + 1 / n)
    difference = x[shown] - mean[shown]
    effect = difference / spread
    p = 2 * stats.t.sf(np.abs(effect), max(n - 1, 1))
    reach = stats.t.ppf(0.975, max(n - 1, 1)) * spread
    found = pd.DataFrame(
        {
            "effect": effect,
            "p": p,
            "fdr": stats.false_discovery_control(p) if len(p) else p,
        },
        index=pd.Index(head.concepts[shown], name="concept"),
    )
    table = _table(x[shown], mean[shown], difference - reach, difference + reach, found)
    return Comparison(
        patient,
        f"{label} ({n} training patients)",
        head.concepts,
        x,
        mean,
        _surest_first(table),
        "share of the barcode",
        "distance from the class's mean in standard deviations",
    )


def correlation(barcodes: Barcodes) -> Float64Array:
    """How alike patients are: correlation of their root shares, (n, n)."""
    root = transformed(barcodes.values, "sqrt").astype(np.float64)
    return np.atleast_2d(np.asarray(np.corrcoef(root), dtype=np.float64))


def disease_concepts(barcodes: Barcodes, top: int = 50) -> pd.DataFrame:
    """Concepts that patients of a disease show more than all others.

    Parameters
    ----------
    barcodes : Barcodes
        With diagnoses; patients without one are not looked at.
    top : int
        Of each disease.

    Returns
    -------
    DataFrame
        ``diagnosis, concept, mean, others, effect, p, fdr``: mean shares of the barcode,
        and the rank statistics of `enrichment.compare` over the patients.

    Raises
    ------
    CytoError
        If there are fewer than two diagnoses.
    """
    known = np.array([bool(name) for name in barcodes.diagnosis])
    table = barcodes.rows(known)
    names = np.array(table.diagnosis, dtype=str)
    if len(np.unique(names)) < 2:
        raise CytoError("Diseases can be compared where there are two diagnoses at least.")
    shares = sparse.csr_array(transformed(table.values, "fraction"))
    parts = []
    for name in np.unique(names):
        chosen = names == name
        found = enrichment.compare(shares, chosen)
        columns = found.index.to_numpy()
        part = pd.DataFrame(
            {
                "diagnosis": str(name),
                "concept": table.concepts[columns],
                "mean": np.asarray(shares[chosen].mean(axis=0))[columns],
                "others": np.asarray(shares[~chosen].mean(axis=0))[columns],
                "effect": found["effect"].to_numpy(),
                "p": found["p"].to_numpy(),
                "fdr": found["fdr"].to_numpy(),
            }
        )
        part = part[part["effect"] > 0]
        parts.append(part.sort_values(["fdr", "effect"], ascending=[True, False]).head(top))
    return pd.concat(parts, ignore_index=True)


def _table(
    here: Float64Array,
    there: Float64Array,
    low: Float64Array,
    high: Float64Array,
    found: pd.DataFrame,
) -> pd.DataFrame:
    table = found.assign(
        here=here, there=there, difference=here - there, low=low, high=high
    )
    return table.loc[:, list(COLUMNS)]


def _surest_first(table: pd.DataFrame) -> pd.DataFrame:
    size = table["effect"].abs()
    order = np.lexsort((table.index.to_numpy(), -size, table["fdr"].fillna(1).to_numpy()))
    return table.iloc[order]

"""Many patients at once: how alike they are, and what a disease has that others lack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cytosae.core._copies import kept_together
from napari_cytosae.core._profiles import profiles_of
from napari_cytosae.core._recipes import transformed
from napari_cytosae.core.class_comparison import more_in_class
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

    from napari_cytosae.core.patients import Barcodes
    from napari_cytosae.core.types import Float64Array, Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class Resemblance:
    """How alike barcodes are.

    Attributes
    ----------
    names : tuple of str
        n of them.
    matrix : ndarray of float64, (n, n)
        Of `correlation`.
    places : ndarray of int64, (n,)
        Which of the barcodes that were given each one is.
    """

    names: tuple[str, ...]
    matrix: Float64Array
    places: Int64Array

    @property
    def limits(self) -> tuple[float, float]:
        """Least and largest correlation of two; all are equal to themselves."""
        n = len(self.names)
        apart = self.matrix[~np.eye(n, dtype=bool)]
        low = float(apart.min()) if n > 1 else 0.0
        return low, max(float(apart.max()) if n > 1 else 1.0, low + 1e-6)

    def as_table(self, barcodes: Barcodes) -> pd.DataFrame:
        """``patient, diagnosis``, and a column of correlations for each patient."""
        shown = barcodes.rows(self.places)
        table = pd.DataFrame(self.matrix, columns=list(shown.patients))
        table.insert(0, "patient", shown.patients, allow_duplicates=True)
        table.insert(1, "diagnosis", shown.diagnosis, allow_duplicates=True)
        return table


def resemblance(names: Sequence[str], values: sparse.csr_array) -> Resemblance:
    """Correlate barcodes, and order them so that alike ones lie side by side.

    Parameters
    ----------
    names : sequence of str
        Of the patients, n of them.
    values : csr_array, (n, k)
        Barcodes in any unit.

    Returns
    -------
    Resemblance
        In the order of the leaves of average linkage on 1 - correlation.
    """
    from scipy.cluster.hierarchy import average, leaves_list, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    matrix = correlation(values)
    order: Int64Array = np.arange(len(names))
    if len(names) > 2:
        distance = np.clip(1 - matrix, 0, None)
        np.fill_diagonal(distance, 0)
        pairs = squareform(distance, checks=False)
        tree = average(pairs)
        leaves = leaves_list(optimal_leaf_ordering(tree, pairs))
        order = np.asarray(leaves, dtype=np.int64)
    return Resemblance(
        tuple(names[int(i)] for i in order), matrix[np.ix_(order, order)], order
    )


def correlation(values: sparse.csr_array) -> Float64Array:
    """How alike patients are: correlation of their root shares, (n, n)."""
    root = transformed(values, "sqrt").astype(np.float64)
    with np.errstate(invalid="ignore"):
        # A patient without any concept is like nobody else.
        found = np.nan_to_num(np.atleast_2d(np.corrcoef(root)))
    np.fill_diagonal(found, 1)
    return np.asarray(found, dtype=np.float64)


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
        and the rest as of `class_comparison.more_in_class`.

    Raises
    ------
    CytoError
        If there are fewer than two diagnoses.
    """
    known = np.array([bool(name) for name in barcodes.diagnosis])
    table = barcodes.rows(known)
    names, labels = np.unique(np.array(table.diagnosis, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise CytoError("Diseases can be compared where there are two diagnoses at least.")
    shares = transformed(table.values, "fraction").astype(np.float64)
    profiles = profiles_of(shares, labels, kept_together(table), len(names))
    parts = []
    for index, name in enumerate(map(str, names)):
        found = more_in_class(profiles, index, name, table.concepts).table.head(top)
        part = found.reset_index().rename(columns={"here": "mean", "there": "others"})
        part.insert(0, "diagnosis", name)
        parts.append(part[["diagnosis", "concept", "mean", "others", "effect", "p", "fdr"]])
    return pd.concat(parts, ignore_index=True)

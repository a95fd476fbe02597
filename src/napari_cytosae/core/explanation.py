"""Why a head says what it says: contributions that add up, down to the cell.

With coefficients ``w``, a transform ``t`` and the mean training patient ``r``, the score of
class c is ``intercept[c] + sum over concepts of w[c, k] * (t(x)[k] - r[k])``; each summand
is the contribution of concept k. Cells act through the mean barcode and the transform, so
a cell's figure is the change when it is left out, not a summand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from napari_cytosae.core._calibration import probabilities
from napari_cytosae.core._recipes import transformed
from napari_cytosae.core.patient_cells import barcode
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_cytosae.core.heads import Head
    from napari_cytosae.core.types import Float64Array

CELLS_AT_ONCE = 64
"""Barcodes that leave one cell out, made dense at a time."""


def contributions(head: Head, values: sparse.csr_array) -> Float64Array:
    """What each concept adds to each class score of one patient.

    Parameters
    ----------
    head : Head
        The classifier.
    values : csr_array, (1, k)
        The barcode, with the columns of `Head.columns`.

    Returns
    -------
    ndarray of float64, (n_classes, k)
        With the head's intercept they add up to its score.
    """
    total = np.zeros((len(head.classes), len(head.concepts)))
    for part in head.parts:
        shifted = transformed(values, part.transform)[0] - part.reference
        total += part.coefficients * shifted
    return total


def waterfall(
    head: Head,
    values: sparse.csr_array,
    label: str,
    names: Mapping[int, str] | None = None,
    top: int = 15,
) -> pd.DataFrame:
    """The strongest contributions to a class score, and all others as one.

    Returns
    -------
    DataFrame
        Columns ``concept`` (-1 for the first and the last row), ``name``,
        ``contribution`` and ``total`` so far; the first row is the mean training patient,
        the last one the other concepts, and the last total the score.
    """
    if label not in head.classes:
        raise CytoError(f"The head knows no class {label}: {', '.join(head.classes)}.")
    index = head.classes.index(label)
    each = contributions(head, values)[index]
    size = np.abs(each)
    # Of tens of thousands only those that can be among the strongest are sorted.
    top = min(top, len(size))
    near = np.flatnonzero(size >= (np.partition(size, -top)[-top] if top else np.inf))
    strongest = near[np.argsort(-size[near], kind="stable")[:top]]
    known = names or {}
    concepts = [int(head.concepts[i]) for i in strongest]
    steps = [head.intercept[index], *each[strongest], each.sum() - each[strongest].sum()]
    others = len(each) - len(strongest)
    return pd.DataFrame(
        {
            "concept": [-1, *concepts, -1],
            "name": [
                "mean training patient",
                *(known.get(concept, "") for concept in concepts),
                f"{others} other concepts",
            ],
            "contribution": steps,
            "total": np.cumsum(steps),
        }
    )


def cell_changes(head: Head, counts: sparse.csr_array) -> Float64Array:
    """How much each cell changes the class scores: score with it minus score without.

    Parameters
    ----------
    head : Head
        The classifier.
    counts : csr_array, (n_cells, k)
        Token counts of the patient's cells, with the columns of the head.

    Returns
    -------
    ndarray of float64, (n_cells, n_classes)

    Raises
    ------
    CytoError
        If there are fewer than two cells.
    """
    n = counts.shape[0]
    if n < 2:
        raise CytoError("With a single cell nothing is left when it is left out.")
    total = barcode(counts) * n
    whole = head.scores(_row(total / n))
    changes = np.zeros((n, len(head.classes)))
    for start in range(0, n, CELLS_AT_ONCE):
        cells = counts[start : start + CELLS_AT_ONCE].toarray()
        without = sparse.csr_array((total - cells) / (n - 1))
        changes[start : start + len(cells)] = whole - head.scores(without)
    return changes


def scores_without(
    head: Head,
    counts: sparse.csr_array,
    cells: Sequence[int] | npt.NDArray[np.integer] = (),
    concepts: Sequence[int] = (),
) -> Float64Array:
    """Class scores if some cells or concepts were not there.

    Parameters
    ----------
    head : Head
        The classifier.
    counts : csr_array, (n_cells, k)
        Token counts of the patient's cells, with the columns of the head.
    cells : sequence of int
        Rows of `counts` to leave out.
    concepts : sequence of int
        Ids of concepts set to the mean training patient's value: their contribution is 0.

    Returns
    -------
    ndarray of float64, (n_classes,)

    Raises
    ------
    CytoError
        If no cell is left, or the head has no such concept.
    """
    kept = np.ones(counts.shape[0], bool)
    kept[np.asarray(cells, dtype=np.int64)] = False
    each = contributions(head, _row(barcode(counts[kept])))
    asked = np.asarray(concepts, dtype=np.int64)
    unknown = asked[~np.isin(asked, head.concepts)]
    if len(unknown):
        raise CytoError(f"The head has no concept {unknown[0]}.")
    each[:, np.isin(head.concepts, concepts)] = 0
    scores: Float64Array = head.intercept + each.sum(axis=1)
    return scores


def class_probabilities(scores: Float64Array) -> Float64Array:
    """What scores of one patient mean as probabilities, (n_classes,)."""
    p: Float64Array = probabilities(scores[None])[0]
    return p


def _row(dense: Float64Array) -> sparse.csr_array:
    return sparse.csr_array(dense[None])

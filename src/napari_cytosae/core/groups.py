"""Groups of cells against concepts: means, and which concepts tell the groups apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_array

    from napari_cytosae.core.types import Float64Array, Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Result of `compare_groups`.

    Attributes
    ----------
    names : tuple of str, g
        In alphabetical order.
    counts : ndarray of int64, (g,)
        Cells in each.
    concepts : ndarray of int64, (k,)
        Those that differ most between the groups, these first.
    means : ndarray of float64, (g, k)
        Mean activation over the cells of a group.
    explained : ndarray of float64, (k,)
        Share (0 to 1) of a concept's variance that lies between the groups (eta squared,
        Fisher 1925).
    """

    names: tuple[str, ...]
    counts: Int64Array
    concepts: Int64Array
    means: Float64Array
    explained: Float64Array


def compare_groups(values: csr_array, labels: Sequence[str], limit: int = 40) -> Groups:
    """Average concepts over groups of cells.

    Parameters
    ----------
    values : csr_array, (n, d_sae)
        One of `ConceptActivations`, for example the mean over the patches.
    labels : sequence of str, n of them
        The group of each cell; those with an empty label are left out.
    limit : int
        Concepts kept.

    Raises
    ------
    CytoError
        With fewer than two groups.
    """
    from scipy import sparse

    known = np.array([bool(label) for label in labels])
    names, place = np.unique(np.array(labels, dtype=str)[known], return_inverse=True)
    if len(names) < 2:
        raise CytoError(
            "There is only one group: look for several kinds of cells, or encode images of "
            "several patients."
        )
    cells = values[known]
    n = len(place)
    counts = np.bincount(place)
    member = sparse.csr_array((np.ones(n), (place, np.arange(n))), (len(names), n))
    means = (member @ cells).toarray() / counts[:, None]
    squares = np.bincount(cells.indices, cells.data.astype(np.float64) ** 2, cells.shape[1])
    overall = counts @ means / n
    total = squares - n * overall**2
    between = counts @ (means - overall) ** 2
    varies = total > 1e-9 * np.maximum(squares, 1e-30)
    explained = np.divide(between, total, out=np.zeros_like(total), where=varies)
    found = np.flatnonzero(explained > 0)
    order = found[np.argsort(-explained[found], kind="stable")[:limit]]
    return Groups(
        tuple(names.tolist()),
        counts.astype(np.int64),
        order.astype(np.int64),
        means[:, order],
        np.minimum(explained[order], 1.0),
    )

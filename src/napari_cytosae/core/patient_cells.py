"""The cells of one patient, counted and averaged.

``b[k]`` is the number of patch tokens with ``f[k] > threshold``, mean over the cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.types import BoolArray, ConceptActivations, Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class PatientCells:
    """The cells of one patient as counts of tokens over threshold.

    Attributes
    ----------
    patient, diagnosis : str
    counts : csr_array of float32, (n_cells, d_sae)
        Of `token_counts`.
    ok : ndarray of bool, (n_cells,)
        Cells without a quality flag.
    n_images : int
    facts : ndarray of float64, (n_cells, len(quality.FACTS)), or None
        Of `quality.cell_facts`.
    images : tuple of str
        Of `_copies.content_of`.
    others : mapping of str to str
        What else is known, like scanner or day.
    """

    patient: str
    counts: sparse.csr_array
    ok: BoolArray
    n_images: int = 1
    diagnosis: str = ""
    facts: Float64Array | None = None
    images: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)


def token_counts(
    activations: ConceptActivations, include_cls: bool = False
) -> sparse.csr_array:
    """Tokens over threshold of each cell and concept.

    Parameters
    ----------
    activations : ConceptActivations
        The cells.
    include_cls : bool
        Count the CLS token too, as the reference's code does: 257 tokens, not 256.

    Returns
    -------
    csr_array of float32, (n_cells, d_sae)
    """
    if not include_cls:
        return activations.n_patches
    over = activations.cls.copy()
    over.data = (over.data > activations.threshold).astype(np.float32)
    counts = sparse.csr_array(activations.n_patches + over)
    counts.eliminate_zeros()
    return counts


def barcode(counts: sparse.csr_array) -> Float64Array:
    """Mean over the cells of their token counts.

    The counts are whole numbers, so that their sum is exact and the same cells given
    twice change nothing.

    Parameters
    ----------
    counts : csr_array, (n_cells, d_sae)
        Of `token_counts`.

    Returns
    -------
    ndarray of float64, (d_sae,)

    Raises
    ------
    CytoError
        If there is no cell.
    """
    if not counts.shape[0]:
        raise CytoError("A patient without cells has no barcode: give images with cells.")
    sums = np.bincount(counts.indices, counts.data, minlength=counts.shape[1])
    return np.asarray(sums, dtype=np.float64) / counts.shape[0]

"""How far a barcode is known: the patient's cells drawn again, with replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scipy import sparse

    from napari_cytosae.core.types import Float64Array, Int64Array

REPLICATES = 200
"""Bootstrap samples of a patient's cells."""

LEVEL = 0.95
"""Of the bootstrap interval."""

_COLUMNS_AT_ONCE = 4096
"""Of the bootstrap: 200 x 4096 numbers are 7 MB."""


def bounds_of(
    replicates: Float64Array, level: float = LEVEL
) -> tuple[Float64Array, Float64Array]:
    """Percentile interval of each row, (k, replicates) -> low and high, (k,)."""
    low, high = np.quantile(replicates, ((1 - level) / 2, (1 + level) / 2), axis=1)
    return low, high


def bootstrap(
    counts: sparse.csr_array, replicates: int = REPLICATES, level: float = LEVEL
) -> tuple[Float64Array, Float64Array]:
    """Interval of the barcode when the cells are drawn again from the same patient.

    Parameters
    ----------
    counts : csr_array, (n_cells, d_sae)
        Of `patients.token_counts`, at least one cell.
    replicates : int
        Samples of the cells, with replacement; always the same ones.
    level : float
        Share of the replicates inside.

    Returns
    -------
    low, high : ndarray of float64, (d_sae,)
    """
    width = counts.shape[1]
    low, high = np.zeros(width), np.zeros(width)
    active = np.unique(counts.indices).astype(np.int64)
    for part, means in replicate_means(counts, active, replicates):
        low[active[part]], high[active[part]] = bounds_of(means, level)
    return low, high


def replicate_means(
    counts: sparse.csr_array,
    columns: Int64Array,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Iterator[tuple[slice, Float64Array]]:
    """Barcodes of bootstrap samples of the cells, some columns at a time.

    Parameters
    ----------
    counts : csr_array, (n_cells, d_sae)
        Of `patients.token_counts`, at least one cell.
    columns : ndarray of int64
        Which ones.
    replicates : int
        Samples of the cells, with replacement.
    seed : int
        The same samples for the same seed.

    Yields
    ------
    part : slice
        Of `columns`.
    means : ndarray of float64, (columns of the part, replicates)
    """
    n = counts.shape[0]
    draws = _drawn(n, replicates, seed)
    by_column = counts.tocsc()
    for part in _parts(len(columns)):
        yield part, np.asarray((by_column[:, columns[part]].T @ draws.T) / n)


def replicate_shares(
    counts: sparse.csr_array,
    columns: Int64Array,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Iterator[tuple[slice, Float64Array]]:
    """As `replicate_means`, as shares of each sample's whole barcode."""
    n = counts.shape[0]
    totals = _drawn(n, replicates, seed) @ np.asarray(counts.sum(axis=1)).ravel() / n
    for part, means in replicate_means(counts, columns, replicates, seed):
        yield part, means / np.maximum(totals, 1e-12)


def _drawn(n: int, replicates: int, seed: int) -> Int64Array:
    """How often each cell is in each sample, (replicates, n)."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates)
    return drawn.astype(np.int64)


def _parts(n: int) -> list[slice]:
    return [slice(at, at + _COLUMNS_AT_ONCE) for at in range(0, n, _COLUMNS_AT_ONCE)]

"""Encoded cells: taken apart, chosen and joined."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from napari_cytosae.core.cache import KeptCell
from napari_cytosae.core.types import ConceptActivations, CytoError, Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scipy.sparse import csr_array

    from napari_cytosae.core.types import (
        Float16Array,
        Float32Array,
        Int32Array,
        Int64Array,
        SaeInfo,
    )

STATISTICS = ("n_patches", "max", "mean", "mean_with_cls", "cls")


def from_dense(dense: Float32Array, sae: SaeInfo, threshold: float) -> ConceptActivations:
    """Keep what is not 0 of `STATISTICS`, (5, n, d_sae)."""
    n_patches, highest, mean, mean_with_cls, cls = (
        sparse.csr_array(rows) for rows in dense
    )
    return ConceptActivations(
        n_patches, highest, mean, mean_with_cls, cls, threshold, sae.sha256
    )


def empty(sae: SaeInfo, threshold: float) -> ConceptActivations:
    """Activations of no cells at all."""
    nothing = np.empty((len(STATISTICS), 0, sae.d_sae), np.float32)
    return from_dense(nothing, sae, threshold)


def split(
    activations: ConceptActivations,
    tokens: Float16Array | None,
    gates: Float32Array | None,
) -> Iterator[KeptCell]:
    """Take encoded cells apart, one after the other; `from_cells` joins them again."""
    matrices = [getattr(activations, name) for name in STATISTICS]
    for row in range(len(activations)):
        # Whatever fires anywhere in a cell has a mean over all its tokens.
        latents, _ = _row(activations.mean_with_cls, row)
        values = np.zeros((len(STATISTICS), len(latents)), np.float32)
        for into, matrix in zip(values, matrices, strict=True):
            own, data = _row(matrix, row)
            into[np.searchsorted(latents, own)] = data
        yield KeptCell(
            latents.astype(np.int32),
            values,
            None if tokens is None else tokens[row],
            None if gates is None else gates[row],
        )


def from_cells(
    cells: Sequence[KeptCell], sae: SaeInfo, threshold: float
) -> tuple[ConceptActivations, Float16Array | None, Float32Array | None]:
    """Join cells, at least one, as `Models.encode_batch` gives them.

    Tokens and gates are kept where every cell has them.
    """
    dense = np.zeros((len(STATISTICS), len(cells), sae.d_sae), np.float32)
    for row, cell in enumerate(cells):
        dense[:, row, cell.latents] = cell.values
    tokens = [cell.tokens for cell in cells if cell.tokens is not None]
    gates = [cell.gates for cell in cells if cell.gates is not None]
    return (
        from_dense(dense, sae, threshold),
        np.stack(tokens) if len(tokens) == len(cells) else None,
        np.stack(gates) if len(gates) == len(cells) else None,
    )


def concatenate(parts: Sequence[Encoded], *, complete: bool = True) -> Encoded:
    """Join encoded cells in the order given.

    Tokens are kept only where every part has them.

    Raises
    ------
    CytoError
        No parts, or parts made with different SAEs or thresholds.
    """
    activations = concatenate_activations([part.activations for part in parts])
    tokens = [part.tokens for part in parts if part.tokens is not None]
    gates = [part.gates for part in parts if part.gates is not None]
    return Encoded(
        activations=activations,
        tokens=np.concatenate(tokens) if len(tokens) == len(parts) else None,
        gates=np.concatenate(gates) if len(gates) == len(parts) else None,
        boxes=np.concatenate([part.boxes for part in parts]),
        cell_ids=np.concatenate([part.cell_ids for part in parts]),
        complete=complete,
    )


def concatenate_activations(parts: Sequence[ConceptActivations]) -> ConceptActivations:
    """Join the activations of cells, without their tokens, in the order given.

    Raises
    ------
    CytoError
        No parts, or parts made with different SAEs or thresholds.
    """
    if not parts:
        raise CytoError("There is nothing to join; encode some cells first.")
    made = {(part.sae_sha256, part.threshold) for part in parts}
    if len(made) > 1:
        raise CytoError(
            "These cells were encoded with different SAEs or thresholds; encode them again."
        )
    sae_sha256, threshold = made.pop()
    stacked = {
        name: sparse.csr_array(
            sparse.vstack([getattr(part, name) for part in parts], format="csr")
        )
        for name in STATISTICS
    }
    return ConceptActivations(**stacked, threshold=threshold, sae_sha256=sae_sha256)


def rows(encoded: Encoded, index: slice | Int64Array) -> Encoded:
    """Some of the cells, in the order of `index`."""
    return replace(
        encoded,
        activations=some_activations(encoded.activations, index),
        tokens=None if encoded.tokens is None else encoded.tokens[index],
        gates=None if encoded.gates is None else encoded.gates[index],
        boxes=encoded.boxes[index],
        cell_ids=encoded.cell_ids[index],
    )


def some_activations(
    of: ConceptActivations, index: slice | Int64Array
) -> ConceptActivations:
    """Activations of some of the cells, in the order of `index`."""
    return replace(of, **{name: getattr(of, name)[index] for name in STATISTICS})


def _row(matrix: csr_array, row: int) -> tuple[Int32Array, Float32Array]:
    """Columns and values stored in one row."""
    stored = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return matrix.indices[stored], matrix.data[stored]

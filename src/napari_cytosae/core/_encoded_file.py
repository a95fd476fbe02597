"""Encoded cells as a file of plain arrays, of which nothing is executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from napari_cytosae.core.encoded_cells import STATISTICS
from napari_cytosae.core.types import ConceptActivations, Encoded

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, encoded: Encoded) -> None:
    """Write an ``.npz`` file, uncompressed."""
    activations = encoded.activations
    arrays: dict[str, Any] = {
        "boxes": encoded.boxes,
        "cell_ids": encoded.cell_ids,
        "complete": np.array(encoded.complete),
        "threshold": np.array(activations.threshold),
        "shape": np.array(activations.mean.shape),
    }
    for name in STATISTICS:
        matrix = getattr(activations, name)
        arrays |= {
            f"{name}_data": matrix.data,
            f"{name}_indices": matrix.indices,
            f"{name}_indptr": matrix.indptr,
        }
    for name in ("tokens", "gates"):
        if getattr(encoded, name) is not None:
            arrays[name] = getattr(encoded, name)
    np.savez(path, **arrays)


def read(path: Path, sae_sha256: str) -> Encoded:
    """Read what `write` wrote, of cells that this SAE encoded."""
    with path.open("rb") as file, np.load(file) as stored:
        arrays = dict(stored)
    shape = tuple(arrays["shape"].tolist())
    parts = {
        name: csr_array(
            tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr")),
            shape=shape,
        )
        for name in STATISTICS
    }
    activations = ConceptActivations(
        **parts, threshold=float(arrays["threshold"]), sae_sha256=sae_sha256
    )
    return Encoded(
        activations,
        arrays.get("tokens"),
        arrays.get("gates"),
        arrays["boxes"],
        arrays["cell_ids"],
        bool(arrays["complete"]),
    )

"""Encodes cells in batches, and looks them up first where there is a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cytosae.core import encoded_cells
from napari_cytosae.core.cache import cell_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.cache import Cache, KeptCell
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import UInt8Array

_AT_ONCE = 64
"""Cells looked up between two steps."""


class Encoder:
    """Encodes the cells of one job, some at a time.

    Parameters
    ----------
    models, crops, threshold, keep_tokens, cache
        As for `pipeline.encode`.
    """

    def __init__(
        self,
        models: Models,
        crops: Sequence[UInt8Array],
        threshold: float,
        keep_tokens: bool,
        cache: Cache | None,
    ) -> None:
        self._models, self._crops = models, crops
        self._threshold, self._keep_tokens = threshold, keep_tokens
        self._made_by = f"{models.made_by} {threshold!r}"
        self._cache = cache if models.made_by else None

    def encode(self, start: int, size: int) -> tuple[Any, Any, Any]:
        """As `Models.encode_batch`, from cell `start` on, at most `size` of them anew."""
        if self._cache is None:
            return self._anew(self._crops[start : start + size])
        known: dict[int, KeptCell] = {}
        missing: dict[int, str] = {}
        for index in range(start, min(start + _AT_ONCE, len(self._crops))):
            if len(missing) == size:
                break
            key = cell_key(self._made_by, self._crops[index])
            cell = self._cache.read(key, tokens=self._keep_tokens)
            if cell is None:
                missing[index] = key
            else:
                known[index] = cell
        if missing:
            result = self._anew([self._crops[index] for index in missing])
            for (index, key), cell in zip(
                missing.items(), encoded_cells.split(*result), strict=True
            ):
                self._cache.write(key, cell)
                known[index] = cell
            if len(known) == len(missing):
                return result
        cells = [known[index] for index in sorted(known)]
        return encoded_cells.from_cells(cells, self._models.sae_info, self._threshold)

    def _anew(self, crops: Sequence[UInt8Array]) -> tuple[Any, Any, Any]:
        return self._models.encode_batch(
            crops, self._threshold, keep_tokens=self._keep_tokens
        )

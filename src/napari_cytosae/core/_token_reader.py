"""What an SAE tells of cells whose tokens were kept, without the vision transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cytosae.core import encoding
from napari_cytosae.core.sae import slices
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_cytosae.core.sae import Sae
    from napari_cytosae.core.types import (
        Encoded,
        Float16Array,
        Float32Array,
        Float64Array,
        SaeInfo,
    )


class TokenReader:
    """Reads concepts off kept tokens; `Models` is one, with a backbone to make tokens.

    Parameters
    ----------
    sae : Sae
        On the device to compute on.
    grid : int
        Patches along one side of a crop.

    Attributes
    ----------
    grid : int
        Patches along one side of a crop.
    """

    def __init__(self, sae: Sae, grid: int) -> None:
        self._sae = sae
        self.grid = grid

    @property
    def sae_info(self) -> SaeInfo:
        """What is known of the SAE."""
        return self._sae.info

    def concept_grids(self, encoded: Encoded, concepts: Sequence[int]) -> Float32Array:
        """Patch activations of a few concepts from the kept tokens, without the ViT.

        Parameters
        ----------
        encoded : Encoded
            Made with this SAE, with its tokens.
        concepts : sequence of int, k of them
            Concept ids.

        Returns
        -------
        ndarray of float32, (k, n, grid, grid)

        Raises
        ------
        CytoError
            The cells were encoded by another SAE, or without keeping tokens, or the SAE
            has no such concept.
        """
        kept = self._kept(encoded)
        self._sae.require(concepts)
        tokens, gates = kept[:, 1:], encoded.gates
        if gates is not None:
            gates = gates[:, 1:]
        with torch.inference_mode():
            lit = encoding.lit_cells(encoded.activations, concepts)
            maps = encoding.columns(self._sae, tokens, concepts, gates, lit)
        return maps.reshape(*maps.shape[:2], self.grid, self.grid)

    def weighted_sums(
        self, encoded: Encoded, concepts: Sequence[int], weights: Float32Array
    ) -> Generator[tuple[int, Float64Array], None, None]:
        """Patch activations of concepts, weighted and summed up, a few cells at a time.

        Parameters
        ----------
        encoded : Encoded
            Made with this SAE, with its tokens.
        concepts : sequence of int, k of them
            Concept ids.
        weights : ndarray of float32, (n, p, grid, grid)
            Of each patch, p of them.

        Yields
        ------
        int
            How many cells have been seen.
        ndarray of float64, (k, p)
            Sum over those seen since the last time.

        Raises
        ------
        CytoError
            As `concept_grids`.
        """
        kept = self._kept(encoded)
        self._sae.require(concepts)
        with torch.inference_mode():
            read = self._sae.reader(concepts)
        for cells in slices(
            len(encoded), encoding.summed_at_once(self.grid, len(concepts))
        ):
            gates = None if encoded.gates is None else encoded.gates[cells, 1:]
            # Not around the yield: the mode is the thread's, whoever goes on meanwhile.
            with torch.inference_mode():
                sums = encoding.weighted_sum(
                    read, kept[cells, 1:], gates, weights[cells], self._sae.b_dec.device
                )
            yield min(cells.stop, len(encoded)), sums

    def similar_concepts(self, concept: int, limit: int = 10) -> list[tuple[int, float]]:
        """Concepts that write nearly the same into the tokens, the most similar first.

        With each the cosine of the angle between the two rows of the decoder, -1 to 1.
        Raises `CytoError` where the SAE has no such concept.
        """
        self._sae.require([concept])
        with torch.inference_mode():
            cosine = self._sae.decoder_cosine(concept)
            cosine[concept] = -torch.inf
            top = cosine.topk(min(limit, len(cosine) - 1))
        return list(zip(top.indices.tolist(), top.values.tolist(), strict=True))

    def reconstruction_error(self, encoded: Encoded) -> Float32Array:
        """Share of the tokens' variance that the SAE does not explain, of each cell.

        Parameters
        ----------
        encoded : Encoded
            Made with this SAE, with its tokens.

        Returns
        -------
        ndarray of float32, (n,)
            From a sample of the patch tokens: sum of (x - x_hat)^2 over that of
            (x - b_dec)^2.

        Raises
        ------
        CytoError
            As `concept_grids`.
        """
        tokens = self._kept(encoded)[:, 1 :: encoding.SAMPLED]
        with torch.inference_mode():
            return encoding.unexplained(self._sae, tokens)

    def _kept(self, encoded: Encoded) -> Float16Array:
        """The tokens of cells that were encoded with this SAE."""
        if encoded.activations.sae_sha256 != self.sae_info.sha256:
            raise CytoError(
                f"These cells were encoded with another SAE than {self.sae_info.name}; "
                "encode them again."
            )
        if encoded.tokens is None:
            raise CytoError(
                "These cells were encoded without keeping tokens; encode them again with "
                "keep_tokens=True."
            )
        return encoded.tokens

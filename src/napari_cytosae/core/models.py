"""A backbone and an SAE that fit together, ready to encode crops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cytosae import __version__
from napari_cytosae.core import encoding, pipeline
from napari_cytosae.core._pair import require_fit
from napari_cytosae.core._products import Product
from napari_cytosae.core._token_reader import TokenReader
from napari_cytosae.core.backbone import Backbone, preprocess
from napari_cytosae.core.precision import use
from napari_cytosae.core.sae import Sae, slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.checkpoints import BackboneFile, SaeFile
    from napari_cytosae.core.types import (
        BackboneInfo,
        ConceptActivations,
        Float16Array,
        Float32Array,
        Precision,
        UInt8Array,
    )

BATCH_SIZE = {"cpu": 4, "mps": 8, "cuda": 32}
"""Cells a batch: enough to fill the device, few enough to cancel within a second or two."""


class Models(TokenReader):
    """A backbone and the SAE that reads it, on one device; made by `load_models`.

    Parameters
    ----------
    backbone : BackboneFile
        Weights, of which those of the products are copied.
    sae : SaeFile
        Weights, assigned and not copied on the CPU; the encoder's are copied at first use.
    device : torch.device
        Where to compute.
    dtype : {"float32", "bfloat16"}
        Of the matrix products.
    borrowed : bool
        In float32, copy no weights of products, which is slower: for a few cells.

    Attributes
    ----------
    names : dict of int to str
        Concept names shipped with the SAE.
    device : torch.device
        Where it computes.
    precision : {"float32", "bfloat16"}
        Of the matrix products.
    load_seconds : float
        What `load_models` took.
    """

    def __init__(
        self,
        backbone: BackboneFile,
        sae: SaeFile,
        device: torch.device,
        dtype: Precision,
        *,
        borrowed: bool = False,
    ) -> None:
        require_fit(backbone.info, sae.info)
        super().__init__(Sae(sae), backbone.info.grid)
        self.names = sae.names
        self.device = device
        self.precision: Precision = dtype
        self.load_seconds = 0.0
        self._backbone = Backbone(backbone.info, backbone.tensors, sae.info.layer)
        self._backbone.to(device)
        self._sae.to(device)
        use(self._backbone, self._sae, dtype, borrowed=borrowed)

    @property
    def backbone_info(self) -> BackboneInfo:
        """What is known of the backbone."""
        return self._backbone.info

    @property
    def weights_bytes(self) -> int:
        """Memory that the weights take."""
        parts = (self._backbone, self._sae)
        tensors = [t for part in parts for t in (*part.parameters(), *part.buffers())]
        products = [m for m in self._backbone.modules() if isinstance(m, Product)]
        return sum(t.nbytes for t in (*tensors, *(each.weight for each in products)))

    @property
    def layer(self) -> int:
        """Index, from the first block, of the block whose output the SAE reads."""
        return self._backbone.layer

    @property
    def made_by(self) -> str:
        """All that a result follows from besides the pixels; empty for nameless weights."""
        hashes = self.backbone_info.sha256, self.sae_info.sha256
        if not all(hashes):
            return ""
        here = self.device.type, self.precision, torch.__version__, __version__
        return " ".join((*hashes, str(self.layer), *here))

    @property
    def batch_size(self) -> int:
        """Cells a batch where the caller names none."""
        return BATCH_SIZE[self.device.type]

    def tokens(self, crops: Sequence[UInt8Array]) -> Float32Array:
        """Residual stream at the hooked layer.

        Parameters
        ----------
        crops : sequence of ndarray of uint8, (h, w, 3)
            RGB, of any size.

        Returns
        -------
        ndarray of float32, (n, 1 + grid**2, d)
            CLS first.

        Raises
        ------
        ImageError
            A crop that is not uint8 RGB.
        """
        shape = (len(crops), 1 + self.grid**2, self.backbone_info.width)
        result = np.empty(shape, np.float32)
        for cells in slices(len(crops), self.batch_size):
            with torch.inference_mode():
                result[cells] = self._tokens(crops[cells]).cpu()
        return result

    def latents(
        self, crops: Sequence[UInt8Array], concepts: Sequence[int] | None = None
    ) -> Float32Array:
        """Latent activations of every token, dense.

        Parameters
        ----------
        crops : sequence of ndarray of uint8, (h, w, 3)
            RGB, of any size.
        concepts : sequence of int, optional
            Concept ids; all by default, 50 MB a cell at CytoSAE's size.

        Returns
        -------
        ndarray of float32, (n, 1 + grid**2, k)

        Raises
        ------
        ImageError
            A crop that is not uint8 RGB.
        CytoError
            A concept the SAE does not have.
        """
        chosen = range(self.sae_info.d_sae) if concepts is None else concepts
        self._sae.require(chosen)
        result = np.empty((len(crops), 1 + self.grid**2, len(chosen)), np.float32)
        for cells in slices(len(crops), self.batch_size):
            with torch.inference_mode():
                tokens = self._tokens(crops[cells])
                if concepts is None:
                    f = self._sae.encode(tokens)
                else:
                    f = self._sae.columns(tokens, concepts)
                result[cells] = f.cpu()
        return result

    def encode(
        self, crops: Sequence[UInt8Array], threshold: float = 0.2
    ) -> ConceptActivations:
        """Sparse concept activations: `core.pipeline.encode`, run to its end.

        Parameters
        ----------
        crops : sequence of ndarray of uint8, (h, w, 3)
            RGB, of any size.
        threshold : float
            Activation above which a patch counts.

        Raises
        ------
        ImageError
            A crop that is not uint8 RGB.
        CytoError
            Not enough memory for a single cell.
        """
        job = pipeline.encode(self, crops, threshold, keep_tokens=False)
        return pipeline.run(job).activations

    def encode_batch(
        self, crops: Sequence[UInt8Array], threshold: float, *, keep_tokens: bool
    ) -> tuple[ConceptActivations, Float16Array | None, Float32Array | None]:
        """Encode a few crops at once; `pipeline.encode` is what to call for many.

        Returns
        -------
        activations : ConceptActivations
        tokens : ndarray of float16, (n, 1 + grid**2, d), or None
        gates : ndarray of float32, (n, 1 + grid**2), or None
            With the tokens, where the SAE's latents compete.
        """
        with torch.inference_mode():
            tokens = self._tokens(crops)
            gates = self._sae.gates(tokens)
            result = encoding.activations(self._sae, tokens, threshold, gates)
            if not keep_tokens:
                return result, None, None
            limit = torch.finfo(torch.float16).max
            kept: Float16Array = tokens.clamp(-limit, limit).half().cpu().numpy()
            return result, kept, None if gates is None else gates.cpu().numpy()

    def _tokens(self, crops: Sequence[UInt8Array]) -> torch.Tensor:
        pixels = preprocess(crops, self.backbone_info.image_size)
        tokens: torch.Tensor = self._backbone(pixels.to(self.device))
        return tokens

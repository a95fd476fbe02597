"""Sparse summaries against dense numpy; what is stored and what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from napari_cytosae.core import encoded_cells, encoding
from napari_cytosae.core._products import Product
from napari_cytosae.core.checkpoints import SaeFile
from napari_cytosae.core.sae import CHUNK, Sae
from napari_cytosae.core.types import CytoError, Encoded, SaeInfo

D_IN, D_SAE, CELLS, PATCHES = 16, CHUNK + 76, 5, 36
NAMES = ("n_patches", "max", "mean", "mean_with_cls", "cls")


@pytest.fixture(scope="module")
def tokens():
    return torch.randn(CELLS, 1 + PATCHES, D_IN, generator=torch.Generator().manual_seed(0))


def make_sae(kind: str = "relu") -> Sae:
    generator = torch.Generator().manual_seed(1)
    tensors = {
        "W_enc": torch.randn(D_IN, D_SAE, generator=generator) / 4,
        "b_enc": torch.linspace(-6, 1, D_SAE),
        "W_dec": torch.randn(D_SAE, D_IN, generator=generator),
        "b_dec": torch.randn(D_IN, generator=generator) / 4,
    }
    if kind in ("jumprelu", "batchtopk"):
        tensors["threshold"] = torch.tensor(0.4)
    info = SaeInfo("t", kind, D_IN, D_SAE, -2, "abc", k=20 if kind == "topk" else None)
    return Sae(SaeFile(info, tensors, {}))


def dense_summary(f: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    patches = f[:, 1:]
    return {
        "n_patches": (patches > threshold).sum(axis=1),
        "max": patches.max(axis=1),
        "mean": patches.mean(axis=1),
        "mean_with_cls": f.mean(axis=1),
        "cls": f[:, 0],
    }


@pytest.mark.parametrize("kind", ["relu", "topk", "batchtopk", "jumprelu"])
@pytest.mark.parametrize("threshold", [0.2, 0.0, 1.5])
def test_summaries(tokens, kind, threshold):
    sae = make_sae(kind)
    got = encoding.activations(sae, tokens, threshold, sae.gates(tokens))
    f = sae.encode(tokens).numpy()
    for name, expected in dense_summary(f, threshold).items():
        matrix = getattr(got, name)
        assert isinstance(matrix, csr_array)
        assert matrix.shape == (CELLS, D_SAE)
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-5, atol=1e-6)
        assert (matrix.data > 0).all(), "only what fires is stored"
        assert matrix.nnz == np.count_nonzero(expected)
        assert matrix.has_sorted_indices
    assert (got.threshold, got.sae_sha256, len(got)) == (threshold, "abc", CELLS)


def test_what_is_at_the_threshold_does_not_count(tokens):
    sae = make_sae()
    f = sae.encode(tokens).numpy()
    at = float(f[0, 1:].max())
    got = encoding.activations(sae, tokens, at)
    assert got.n_patches[[0]].sum() == 0
    below = float(np.nextafter(np.float32(at), np.float32(0)))
    assert encoding.activations(sae, tokens, below).n_patches[[0]].sum() == 1


def test_cells_do_not_depend_on_their_batch(tokens):
    sae = make_sae()
    together = encoding.activations(sae, tokens, 0.2)
    alone = encoding.activations(sae, tokens[2:3], 0.2)
    for name in NAMES:
        a, b = getattr(together, name)[[2]].toarray(), getattr(alone, name).toarray()
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_dense_activations_never_exist(tokens, monkeypatch):
    """No tensor is made of more than a chunk's latents for the tokens of a batch."""
    sae = make_sae()
    seen = []
    original = Product.forward

    def watched(self, *args):
        result = original(self, *args)
        seen.append(result.numel())
        return result

    monkeypatch.setattr(Product, "forward", watched)
    encoding.activations(sae, tokens, 0.2)
    assert max(seen) == CELLS * (1 + PATCHES) * CHUNK
    assert sum(seen) == CELLS * (1 + PATCHES) * D_SAE


def encoded(tokens: torch.Tensor, first_id: int, sae: Sae | None = None) -> Encoded:
    sae = sae or make_sae("topk")
    gates = sae.gates(tokens)
    count = len(tokens)
    return Encoded(
        encoding.activations(sae, tokens, 0.2, gates),
        tokens.half().numpy(),
        None if gates is None else gates.numpy(),
        np.arange(4 * count).reshape(count, 4),
        np.arange(first_id, first_id + count),
    )


def test_concatenate(tokens):
    parts = [encoded(tokens[:2], 1), encoded(tokens[2:], 3)]
    joined = encoded_cells.concatenate(parts)
    whole = encoded(tokens, 1)
    assert joined.complete
    assert joined.cell_ids.tolist() == [1, 2, 3, 4, 5]
    assert joined.boxes.shape == (5, 4)
    np.testing.assert_array_equal(joined.tokens, whole.tokens)
    np.testing.assert_allclose(joined.gates, whole.gates, rtol=1e-5)
    for name in NAMES:
        matrix = getattr(joined.activations, name)
        assert isinstance(matrix, csr_array)
        assert matrix.dtype == np.float32
        expected = getattr(whole.activations, name).toarray()
        np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-4, atol=1e-6)
    assert not encoded_cells.concatenate(parts[:1], complete=False).complete


def test_parts_without_tokens_make_a_whole_without(tokens):
    parts = [encoded(tokens[:2], 1), replace(encoded(tokens[2:], 3), tokens=None)]
    assert encoded_cells.concatenate(parts).tokens is None


def test_parts_that_do_not_belong_together(tokens):
    part = encoded(tokens[:2], 1)
    for change in ({"sae_sha256": "other"}, {"threshold": 0.3}):
        other = replace(part, activations=replace(part.activations, **change))
        with pytest.raises(CytoError, match="different SAEs or thresholds; encode them"):
            encoded_cells.concatenate([part, other])
    with pytest.raises(CytoError, match="nothing to join"):
        encoded_cells.concatenate([])


def test_empty():
    nothing = encoded_cells.empty(make_sae().info, 0.2)
    assert nothing.n_patches.shape == (0, D_SAE)
    assert nothing.n_patches.dtype == np.float32
    assert (len(nothing), nothing.sae_sha256) == (0, "abc")


def test_dark_cells_are_not_looked_at(tokens):
    sae = make_sae("jumprelu")
    concepts = [100, 3, CHUNK + 70]
    activations = encoding.activations(sae, tokens, 0.2)
    dense = activations.max.toarray()[:, concepts]
    lit = encoding.lit_cells(activations, concepts)
    assert lit.tolist() == np.flatnonzero(dense.any(axis=1)).tolist()
    kept = tokens.half().numpy()
    every = encoding.columns(sae, kept, concepts)
    np.testing.assert_array_equal(encoding.columns(sae, kept, concepts, lit=lit), every)
    some = encoding.columns(sae, kept, concepts, lit=np.array([3]))
    assert not some[:, [0, 1, 2, 4]].any()
    np.testing.assert_array_equal(some[:, 3], every[:, 3])
    assert encoding.lit_cells(activations, list(range(D_SAE))) is None
    assert encoding.lit_cells(activations, []).tolist() == []

"""Each kind of SAE against a few lines of numpy, written from its paper's formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_cytosae.core.checkpoints import SaeFile
from napari_cytosae.core.sae import CHUNK, Sae, slices
from napari_cytosae.core.types import SaeInfo

D_IN, D_SAE, K = 24, CHUNK + 200, 9
KINDS = ("relu", "topk", "batchtopk", "jumprelu")


def make_sae(kind: str, k: int | None = None) -> Sae:
    generator = torch.Generator().manual_seed(3)
    tensors = {
        "W_enc": torch.randn(D_IN, D_SAE, generator=generator) / D_IN**0.5,
        "b_enc": torch.randn(D_SAE, generator=generator) - 0.5,
        "W_dec": torch.randn(D_SAE, D_IN, generator=generator),
        "b_dec": torch.randn(D_IN, generator=generator),
    }
    if kind == "jumprelu":
        tensors["threshold"] = torch.randn(D_SAE, generator=generator)
    if kind == "batchtopk":
        tensors["threshold"] = torch.tensor(1.3)
    info = SaeInfo(
        "test", kind, D_IN, D_SAE, -2, "", k=k or (K if kind == "topk" else None)
    )
    return Sae(SaeFile(info, tensors, {}))


@pytest.fixture(scope="module")
def tokens():
    return torch.randn(3, 17, D_IN, generator=torch.Generator().manual_seed(4))


def by_the_book(sae: Sae, tokens: torch.Tensor) -> np.ndarray:
    weights = {name: value.double().numpy() for name, value in sae.state_dict().items()}
    x = tokens.double().numpy()
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    match sae.info.kind:
        case "relu":
            return np.maximum(pre, 0)
        case "topk":
            kept = np.argsort(-pre, axis=-1)[..., : sae.info.k]
            latents = np.zeros_like(pre)
            np.put_along_axis(latents, kept, np.take_along_axis(pre, kept, -1), -1)
            return np.maximum(latents, 0)
        case "batchtopk" | "jumprelu":
            return np.where(pre > np.maximum(weights["threshold"], 0), pre, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_latents(kind, tokens):
    sae = make_sae(kind)
    expected = by_the_book(sae, tokens)
    assert 0 < (expected > 0).mean() < 0.6
    np.testing.assert_allclose(sae.encode(tokens), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_those_latents(kind, tokens):
    sae = make_sae(kind)
    concepts = [D_SAE - 1, 0, 7, 7, CHUNK]
    expected = by_the_book(sae, tokens)[..., concepts]
    got = sae.columns(tokens, concepts)
    assert got.shape == (3, 17, 5)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(sae.columns(tokens, concepts, sae.gates(tokens)), got)


def test_decode(tokens):
    sae = make_sae("relu")
    latents = by_the_book(sae, tokens)
    weights = {name: value.double().numpy() for name, value in sae.state_dict().items()}
    expected = latents @ weights["W_dec"] + weights["b_dec"]
    np.testing.assert_allclose(
        sae.decode(sae.encode(tokens)), expected, rtol=1e-4, atol=1e-3
    )


def test_latents_compete_over_all_slices(tokens):
    """The k kept are the largest of all latents, wherever the chunks are cut."""
    sae = make_sae("topk")
    kept = sae.encode(tokens) > 0
    assert kept.sum(-1).unique().tolist() == [K]
    assert kept[..., :CHUNK].any()
    assert kept[..., CHUNK:].any()


def test_gates_survive_tokens_rounded_to_float16(tokens):
    sae = make_sae("topk")
    gates = sae.gates(tokens)
    rounded = tokens.half().float()
    everything = range(D_SAE)
    exact = sae.columns(tokens, everything, gates) > 0
    kept = sae.columns(rounded, everything, gates) > 0
    # Gates at the k-th value itself would lose every other token's last latent.
    assert (kept != exact).sum() <= 0.1 * exact[..., 0].numel()


def test_topk_of_all_is_relu(tokens):
    sae = make_sae("topk", k=D_SAE)
    assert torch.equal(sae.gates(tokens), torch.zeros(3, 17))
    assert torch.equal(sae.encode(tokens), make_sae("relu").encode(tokens))


def test_negative_values_are_not_kept(tokens):
    """With fewer than k positive pre-activations a token has fewer than k latents."""
    sae = make_sae("topk")
    sae.b_enc -= 4
    f = sae.encode(tokens)
    assert f.min() == 0
    assert (f > 0).sum(-1).min() < K
    np.testing.assert_allclose(f, by_the_book(sae, tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["relu", "batchtopk", "jumprelu"])
def test_only_topk_has_gates(kind, tokens):
    assert make_sae(kind).gates(tokens) is None


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_close_and_its_bias_exact(kind, tokens):
    sae, exact = make_sae(kind), make_sae(kind)
    sae.use(torch.bfloat16)
    got, expected = sae.encode(tokens), exact.encode(tokens)
    assert got.dtype == torch.float32
    assert torch.equal(got, got.bfloat16().float())
    assert (got - expected).abs().sum() / expected.sum() < 0.02
    # A token at b_dec leaves the bias alone, rounded once at the end and not before.
    at_centre = sae.b_dec.view(1, 1, -1)
    alone, bias = sae.encode(at_centre), exact.encode(at_centre)
    torch.testing.assert_close(alone, bias.bfloat16().float(), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_in_bfloat16_are_those_of_all(kind, tokens):
    """Exact where latents do not compete; else rounded as those they compete with."""
    sae, exact = make_sae(kind), make_sae(kind)
    sae.use(torch.bfloat16)
    concepts = [5, 0, CHUNK + 7]
    got = sae.columns(tokens, concepts)
    if kind == "topk":
        expected = sae.encode(tokens)[..., concepts]
        torch.testing.assert_close(got, expected, rtol=8e-3, atol=0)
    else:
        torch.testing.assert_close(got, exact.columns(tokens, concepts))


def test_chunks_cover_all_latents_once():
    assert [*range(D_SAE)] == [i for part in slices(D_SAE) for i in range(D_SAE)[part]]
    assert list(slices(1)) == [slice(0, 1)]

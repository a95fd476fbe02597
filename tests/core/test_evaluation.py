"""Figures of an SAE against their definitions, written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score

from napari_cytosae.core.backbone import Backbone, preprocess
from napari_cytosae.core.checkpoints import SaeFile, open_backbone, open_sae
from napari_cytosae.core.evaluation import (
    blocks_after,
    evaluate_sae,
    latent_aurocs,
    loss_recovered,
)
from napari_cytosae.core.sae import Sae
from napari_cytosae.core.types import ModelMismatchError, SaeInfo


@pytest.fixture
def sae() -> Sae:
    """Two dimensions, three latents: +x, +y and one that never fires."""
    decoder = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    tensors = {
        "W_enc": decoder.T.clone(),
        "b_enc": torch.tensor([0.0, 0.0, -100.0]),
        "W_dec": decoder,
        "b_dec": torch.zeros(2),
    }
    return Sae(SaeFile(SaeInfo("plain", "relu", 2, 3, -2, ""), tensors, {}))


def test_figures_of_a_plain_sae(sae: Sae) -> None:
    # Negative entries are lost, all others kept.
    tokens = torch.tensor([[[1.0, 2.0], [3.0, -4.0]], [[0.0, 6.0], [5.0, 1.0]]])
    found = evaluate_sae(sae, tokens)
    mean = np.array([9 / 4, 5 / 4])
    variance = ((tokens.numpy().reshape(-1, 2) - mean) ** 2).sum()
    assert found.explained_variance == pytest.approx(1 - 16 / variance)
    assert found.l0 == 6 / 4
    assert found.dead_share == pytest.approx(1 / 3)
    assert found.density.tolist() == [0.75, 0.75, 0.0]
    assert found.loss_recovered is None


def test_explained_variance_is_centred(sae: Sae) -> None:
    """A constant reconstruction of tokens far from the origin explains nothing."""
    tokens = 100 + torch.randn((5, 7, 2), generator=torch.Generator().manual_seed(0))
    silent = Sae(
        SaeFile(
            sae.info,
            {
                "W_enc": sae.W_enc,
                "b_enc": torch.full((3,), -1e6),
                "W_dec": sae.W_dec,
                "b_dec": tokens.mean((0, 1)),
            },
            {},
        )
    )
    assert evaluate_sae(silent, tokens).explained_variance == pytest.approx(0, abs=1e-6)


def test_chunks_do_not_change_the_figures(
    sae: Sae, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = torch.randn((9, 5, 2), generator=torch.Generator().manual_seed(1))
    whole = evaluate_sae(sae, tokens)
    monkeypatch.setattr("napari_cytosae.core.evaluation._CHUNK_BYTES", 100)
    parts = evaluate_sae(sae, tokens)
    assert parts.explained_variance == pytest.approx(whole.explained_variance)
    assert (parts.l0, parts.density.tolist()) == (whole.l0, whole.density.tolist())


def test_later_blocks_continue_the_backbone(reference_dir: Path) -> None:
    file = open_backbone(reference_dir / "backbone_tiny_random.pth")
    random = np.random.default_rng(0)
    pixels = preprocess([random.integers(256, size=(30, 30, 3), dtype=np.uint8)])
    hooked = Backbone(file.info, file.tensors, -2)(pixels)
    output = Backbone(file.info, file.tensors, -1)(pixels)
    assert torch.equal(blocks_after(file, -2)(hooked), output)
    assert torch.equal(blocks_after(file, -1)(output), output)
    with pytest.raises(ModelMismatchError):
        blocks_after(file, 99)


def test_loss_recovered_is_one_for_tokens_and_zero_for_their_mean(
    reference_dir: Path, sae: Sae
) -> None:
    random = torch.Generator().manual_seed(2)
    tokens = torch.rand((3, 257, 128), generator=random) + 1
    after = blocks_after(open_backbone(reference_dir / "backbone_tiny_random.pth"), -2)

    def identity(bias: float, b_dec: torch.Tensor) -> Sae:
        tensors = {
            "W_enc": torch.eye(128),
            "b_enc": torch.full((128,), bias),
            "W_dec": torch.eye(128),
            "b_dec": b_dec,
        }
        return Sae(SaeFile(SaeInfo("eye", "relu", 128, 128, -2, ""), tensors, {}))

    kept = identity(0.0, torch.zeros(128))
    lost = identity(-1e6, tokens.mean((0, 1)))
    assert loss_recovered(kept, tokens, after) == pytest.approx(1)
    assert loss_recovered(lost, tokens, after) == pytest.approx(0, abs=1e-5)
    half = open_sae(reference_dir / "sae_tiny_random.pt")
    assert evaluate_sae(Sae(half), tokens, after).loss_recovered is not None


def test_aurocs_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    positive = random.random(500) < 0.2
    # Sparse and rounded: ties at zero and elsewhere.
    activations = random.normal(size=(500, 300)) + positive[:, None] * random.normal(
        size=300
    )
    activations = np.round(np.maximum(activations, 0), 1).astype(np.float32)
    activations[:, 17] = 0
    found = latent_aurocs(activations, positive)
    expected = [roc_auc_score(positive, column) for column in activations.T]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[17] == 0.5
    np.testing.assert_array_equal(latent_aurocs(csr_array(activations), positive), found)


def test_auroc_of_one_class_is_unknown() -> None:
    assert np.isnan(latent_aurocs(np.ones((4, 2), np.float32), np.ones(4, bool))).all()

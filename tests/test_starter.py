"""The starter model as shipped, and the recipe that makes it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

import napari_cytosae as cyto
from napari_cytosae.core import registry
from napari_cytosae.synthetic import COMPARTMENTS, WBC_TYPES, render_cell

RECIPE = Path(__file__).resolve().parents[1] / "scripts" / "starter"
LARGEST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def models() -> cyto.Models:
    return cyto.load_models(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def cells() -> tuple[list[np.ndarray], np.ndarray]:
    """Drawn cells of every type, and which of their patches are mostly nucleus."""
    drawn = [render_cell(t, seed=3000 + k, size=224) for k, t in enumerate(WBC_TYPES)]
    nucleus = COMPARTMENTS.index("nucleus")
    patches = [
        (cell.compartments == nucleus).reshape(16, 14, 16, 14).mean((1, 3)).ravel() >= 0.5
        for cell in drawn
    ]
    return [cell.rgb for cell in drawn], np.stack(patches)


def test_fits_the_package(models):
    paths = [registry.resolve("starter", role) for role in ("backbone", "sae")]
    assert sum(path.stat().st_size for path in paths) <= LARGEST_BYTES
    assert models.grid == 16
    assert models.sae_info.d_in == models.backbone_info.width
    assert models.sae_info.licence == models.backbone_info.licence == "MIT"
    assert set(models.names) <= set(range(models.sae_info.d_sae))
    assert "nucleus" in " ".join(models.names.values())


def test_a_latent_lights_up_nuclei(models, cells):
    crops, nucleus = cells
    latents = models.latents(crops)[:, 1:]
    flat, positive = latents.reshape(-1, latents.shape[-1]), nucleus.ravel()
    scores = np.full(flat.shape[1], 0.5)
    n_pos, n_neg = positive.sum(), (~positive).sum()
    for k in np.flatnonzero((flat > 0).mean(0) > 0.01):
        ranks = rankdata(flat[:, k])[positive].sum()
        scores[k] = (ranks - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)
    assert scores.max() >= 0.95
    best = latents[..., scores.argmax()]
    lit = best > np.quantile(best[best > 0], 0.99) / 4
    dice = 2 * (lit & nucleus).sum() / (lit.sum() + nucleus.sum())
    assert dice >= 0.75


def test_sparse_and_alive(models, cells):
    latents = models.latents(cells[0])[:, 1:]
    active = (latents > 0).sum(-1).mean()
    assert 5 <= active <= 40


@pytest.fixture
def recipe(monkeypatch):
    """The recipe's modules, which are scripts and not a package."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(RECIPE))
    names = ("backbone", "prepare")
    yield [importlib.import_module(name) for name in names]
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == RECIPE:
            del sys.modules[name]


def test_recipe_repeats_itself_and_survives_a_kill(recipe, tmp_path):
    backbone, prepare = recipe
    scenes = [(prepare.stack([prepare.synthetic_field(seed) for seed in (1, 2)]), 1.0)]
    cycles = (backbone.Cycle(2, 64, 3, 1), backbone.Cycle(2, 128, 2, 1))
    tiny = {"cycles": cycles, "width": 64, "depth": 1, "workers": 0}
    whole = backbone.train(scenes, tmp_path / "a", **tiny)
    backbone.train(scenes, tmp_path / "b", stop_after=3, **tiny)
    resumed = backbone.train(scenes, tmp_path / "b", **tiny)
    for name, tensor in whole.state_dict().items():
        assert np.array_equal(tensor.numpy(), resumed.state_dict()[name].numpy()), name

"""The starter model as shipped, and the recipe that makes it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

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
    names = ("backbone", "prepare", "labs", "guide")
    yield [importlib.import_module(name) for name in names]
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == RECIPE:
            del sys.modules[name]


def test_recipe_repeats_itself_and_survives_a_kill(recipe, tmp_path):
    backbone, prepare, *_ = recipe
    scenes = [(prepare.stack([prepare.synthetic_field(seed) for seed in (1, 2)]), 1.0)]
    cycles = (backbone.Cycle(2, 64, 3, 1), backbone.Cycle(2, 128, 2, 1))
    tiny = {"cycles": cycles, "width": 64, "depth": 1, "workers": 0}
    whole = backbone.train(scenes, tmp_path / "a", **tiny)
    backbone.train(scenes, tmp_path / "b", stop_after=3, **tiny)
    resumed = backbone.train(scenes, tmp_path / "b", **tiny)
    for name, tensor in whole.state_dict().items():
        assert np.array_equal(tensor.numpy(), resumed.state_dict()[name].numpy()), name


def test_a_laboratory_is_one_stain_and_repeats_itself(recipe):
    labs = recipe[2]
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = pd.Series(labs.composition(rng)).value_counts()
        assert counts.sum() == labs.CELLS
        assert counts.min() >= labs.FEWEST
        assert set(labs.MATURE) <= set(counts.index)
    labs.CELLS = 12
    labs.MATURE, labs.FEWEST = labs.MATURE[:2], 3
    pixels, types = labs.drawn_lab(3)
    again, _ = labs.drawn_lab(3)
    assert pixels.shape == (12, 3, 224, 224)
    assert len(types) == 12
    assert np.array_equal(pixels, again)
    glass = np.quantile(pixels.reshape(12, 3, -1), 0.95, axis=2)
    others = np.quantile(labs.drawn_lab(4)[0].reshape(12, 3, -1), 0.95, axis=2)
    assert glass.std(0).mean() < np.abs(glass.mean(0) - others.mean(0)).mean()


def test_types_missed_are_those_of_ridge_regression_without_the_cell(recipe):
    guide = recipe[3]
    rng = np.random.default_rng(0)
    types = np.array([0] * 9 + [3] * 7 + [1] * 5)
    means = rng.normal(size=(len(types), 30)) + np.eye(30)[types] * 2
    z = (means - means.mean(0)) / (means.std(0) + 1e-3)
    one_hot = (types[:, None] == np.unique(types)).astype(float)
    targets = one_hot / np.sqrt(one_hot.sum(0))
    targets -= targets.mean(0)
    missed = 0.0
    for left_out in range(len(types)):
        kept = np.arange(len(types)) != left_out
        ridge = Ridge(alpha=guide.RIDGE * z.shape[1], fit_intercept=False)
        predicted = ridge.fit(z[kept], targets[kept]).predict(z[[left_out]])
        missed += ((predicted - targets[left_out]) ** 2).sum()
    found = guide.missed_types(torch.from_numpy(means).float(), torch.from_numpy(types))
    assert found.item() == pytest.approx(missed / (targets**2).sum(), rel=1e-3)


def test_means_are_alike_whatever_their_basis(recipe):
    guide = recipe[3]
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(40, 3, generator=generator)
    one = hidden @ torch.randn(3, 200, generator=generator)
    other = hidden @ torch.randn(3, 300, generator=generator)
    noise = torch.randn(40, 300, generator=generator)
    assert guide.unalike(one, one).item() == pytest.approx(0, abs=1e-5)
    assert guide.unalike(one, other).item() < 0.1
    assert guide.unalike(one, noise).item() > 0.4
    margins = torch.full((4, 32, 2), -1.0)
    margins[..., 1] = 2.0
    assert guide.silent(margins).item() == pytest.approx((guide.MARGIN + 1) / 2)


@pytest.mark.parametrize("compartment", ["nucleus", "cytoplasm"])
def test_each_compartment_has_a_concept_of_its_own(models, recipe, compartment):
    scenes = sys.modules["scenes"]
    concept = scenes.CLASSES.index(compartment)
    assert models.names[concept].endswith(compartment)
    drawn = [render_cell(t, seed=4000 + k, size=224) for k, t in enumerate(WBC_TYPES)]
    shown = np.stack([cell.compartments for cell in drawn])
    inside = shown.reshape(-1, 16, 14, 16, 14) == COMPARTMENTS.index(compartment)
    positive = inside.mean((2, 4)).ravel() >= 0.5
    values = models.latents([cell.rgb for cell in drawn], [concept])[:, 1:].ravel()
    assert roc_auc_score(positive, values) >= 0.93

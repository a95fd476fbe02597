"""Where the real data is, and what every test needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _folder(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable, default))


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither find nor leave anything in the user's cache."""
    monkeypatch.setenv("CYTOSAE_CACHE_MB", "0")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with `bccd`, `chula_rbc`, `wbc_segmentation`, `cytosae_published`."""
    folder = _folder("CYTOSAE_DATA", ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real smears not here ({folder}): set CYTOSAE_DATA")
    return folder


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Folder with the authors' numbers (`expected.npz` and the tiny checkpoints)."""
    folder = _folder("CYTOSAE_REFERENCE", ROOT.parent / "shared" / "reference")
    if not folder.is_dir():
        pytest.skip(f"authors' numbers not here ({folder}): set CYTOSAE_REFERENCE")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a small random backbone and SAE in the package's own format."""
    import torch
    from timm.models import VisionTransformer

    from napari_cytosae.core.checkpoints import save_backbone, save_sae

    width, latents = 32, 64
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=224,
        patch_size=14,
        embed_dim=width,
        depth=3,
        num_heads=1,
        num_classes=0,
        init_values=1.0,
    )
    save_backbone(folder / "vit.safetensors", vit.state_dict(), heads=1, image_size=224)
    tensors = {
        "W_enc": torch.randn(width, latents) / 4,
        "b_enc": torch.zeros(latents),
        "W_dec": torch.randn(latents, width) / 4,
        "b_dec": torch.zeros(width),
    }
    names = {3: "nuclear indent", 5: "größte Körner, rot"}
    save_sae(folder / "sae.safetensors", tensors, kind="relu", layer=-2, names=names)
    return folder

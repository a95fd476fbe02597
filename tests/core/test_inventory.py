"""What fits what, told from the files in the models folder."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from napari_cytosae.core import registry
from napari_cytosae.core.checkpoints import open_sae, save_sae
from napari_cytosae.core.inventory import FoundModel, take_inventory
from napari_cytosae.core.pipeline import run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_pairs_are_found_by_width_and_block(
    reference_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path))
    folder = registry.models_folder()
    folder.mkdir(parents=True)
    shutil.copy(reference_dir / "backbone_tiny_random.pth", folder / "tiny.pth")
    shutil.copy(reference_dir / "sae_tiny_random.pt", folder / "dictionary.pt")
    (folder / "spoilt.pt").write_bytes(b"nothing")
    starter = open_sae(registry.resolve("starter", "sae"))
    save_sae(
        folder / "other.safetensors",
        starter.tensors,
        kind="batchtopk",
        layer=-1,
        k=32,
        backbone="some-other-vit",
    )
    (folder / "new.training.safetensors").write_bytes(b"an interrupted training")
    found: dict[tuple[str, str | None], FoundModel] = {
        (model.status.entry.name, model.role): model for model in run(take_inventory())
    }
    assert found["starter", "backbone"].fits == ("starter",)
    assert found["other", "sae"].fits == ()
    assert not any("training" in name for name, _ in found)
    assert found["starter", "sae"].fits == ("starter",)
    assert found["tiny", "backbone"].fits == ("dictionary",)
    assert found["dictionary", "sae"].fits == ("tiny",)
    assert "spoilt.pt" in found["spoilt", None].problem
    assert found["cytosae", "sae"].fits == ()
    assert found["cytosae", "sae"].info is None

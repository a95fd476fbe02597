"""The demo, in a real viewer and without one, with small random models."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as Pillow
from typer.testing import CliRunner

from napari_cytosae import demo
from napari_cytosae.cli import app
from napari_cytosae.core.images import read_image
from napari_cytosae.session import ModelChoice
from napari_cytosae.widgets._quiet import preload_torch

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, LATENTS = 32, 128


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> ModelChoice:
    """A random ViT of two blocks and a random SAE that reads the first."""
    preload_torch()
    import torch
    from timm.models.vision_transformer import VisionTransformer

    from napari_cytosae.core.checkpoints import save_backbone, save_sae

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=224, patch_size=14, embed_dim=WIDTH, depth=2, num_heads=1, num_classes=0
    )
    save_backbone(folder / "vit.safetensors", vit.state_dict(), heads=1)
    decoder = torch.nn.functional.normalize(torch.randn(LATENTS, WIDTH), dim=1)
    tensors = {
        "W_enc": decoder.T.contiguous(),
        "b_enc": torch.full((LATENTS,), -0.5),
        "W_dec": decoder,
        "b_dec": torch.zeros(WIDTH),
    }
    save_sae(folder / "sae.safetensors", tensors, kind="relu", layer=-2)
    paths = (str(folder / "vit.safetensors"), str(folder / "sae.safetensors"))
    return ModelChoice(*paths, "cpu", "float32")


def test_headless_writes_the_results_and_their_pictures(
    small_models: ModelChoice, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "demo"
    job = demo.headless(output, small_models.backbone, small_models.sae)
    while True:
        try:
            next(job)
        except StopIteration as finished:
            written = finished.value
            break
    assert sorted(written) == sorted(path for path in output.rglob("*") if path.is_file())
    image = read_image(output / demo.SMEAR_FILE)
    assert image.pixel_size.um == pytest.approx(0.1)
    assert image.rgb.shape == (768, 1024, 3)
    folder = output / "synthetic_smear"
    names = {path.name for path in folder.iterdir()}
    assert {"cells.csv", "concepts.csv", "cells.tif", "cells.h5ad", "run.json"} <= names
    cells = pd.read_csv(folder / "cells.csv")
    assert len(cells) == 9  # the white cells of the smear
    assert set(cells["pixel_size_source"]) == {"metadata"}
    maps = {name.removesuffix(".tif") for name in names if name.startswith("overlay_")}
    maps = {name for name in maps if not name.endswith(".png")}
    assert len(maps) == 4
    assert all(tifffile.imread(folder / f"{name}.tif").max() > 0 for name in maps)
    pictures = {name for name in names if name.endswith(".png")}
    assert pictures == {f"{name}.png" for name in maps} | {"overview.png"}
    for name in pictures:
        picture = np.asarray(Pillow.open(folder / name))
        assert min(picture.shape[:2]) >= 500
        assert picture.std() > 20


def test_without_a_screen_files_are_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Path] = []

    def headless(output: Path) -> Any:
        asked.append(output)
        yield from ()
        return [output / "cells.csv"]

    monkeypatch.setattr(demo, "headless", headless)
    monkeypatch.setattr(demo, "can_show", lambda: False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{Path('cytosae-demo') / 'cells.csv'}\n"
    assert "no screen" in result.stderr
    assert CliRunner().invoke(app, ["demo", "--headless", "-o", "x"]).exit_code == 0
    assert asked == [Path("cytosae-demo"), Path("x")]


@pytest.mark.skipif(sys.platform != "linux", reason="screens are asked otherwise there")
def test_a_screen_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.setenv("DISPLAY", "nowhere.invalid:0")
    assert not demo.can_show()
    monkeypatch.delenv("DISPLAY")
    assert not demo.can_show()


@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a screen")
def test_a_screen_that_answers_is_one() -> None:
    assert demo.can_show()


def test_the_walk_goes_all_the_way_in_a_real_viewer(
    make_napari_viewer: Callable[[], Any],
    small_models: ModelChoice,
    tmp_path: Path,
    qtbot: Any,
) -> None:
    from napari_cytosae.widgets.demo_walk import DemoWalk

    viewer = make_napari_viewer()
    _, dock = viewer.window.add_plugin_dock_widget("napari-cytosae", "CytoSAE")
    dock.session.choose(small_models)
    DemoWalk(viewer, dock, tmp_path, pause_ms=10).start()
    qtbot.waitUntil(lambda: bool(list(tmp_path.glob("*/run.json"))), timeout=60_000)
    qtbot.waitUntil(lambda: not dock.desk.busy, timeout=10_000)
    assert len(dock.session.cells) == 9
    assert sum(overlay is not None for overlay in dock.session.overlays.slots) == 4
    tags = [layer.metadata.get("cytosae", {}).get("role") for layer in viewer.layers]
    assert tags.count("overlay") == 4
    (folder,) = (path.parent for path in tmp_path.glob("*/run.json"))
    assert len(list(folder.glob("overlay_*.tif"))) == 4
    assert len(pd.read_csv(folder / "cells.csv")) == 9
    dock.leave()

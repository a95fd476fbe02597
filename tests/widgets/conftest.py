"""A dock on a real viewer, with small models and a smear of a few cells."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow
from skimage.draw import disk

from napari_cytosae.core._head_files import write_head
from napari_cytosae.core.heads import Head, Part
from napari_cytosae.session_values import ModelChoice
from napari_cytosae.widgets._quiet import preload_torch
from napari_cytosae.widgets.assign_dialog import AssignDialog

GRID, WIDTH, LATENTS = 16, 64, 256


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Names and models of this user stay out of it."""
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def small_models(tmp_path_factory) -> ModelChoice:
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
    save_backbone(folder / "backbone.safetensors", vit.state_dict())
    decoder = torch.nn.functional.normalize(torch.randn(LATENTS, WIDTH), dim=1)
    save_sae(
        folder / "sae.safetensors",
        {
            "W_enc": decoder.T.contiguous(),
            "b_enc": torch.full((LATENTS,), -0.5),
            "W_dec": decoder,
            "b_dec": torch.zeros(WIDTH),
        },
        kind="relu",
        layer=-2,
        names={7: "shipped name"},
    )
    return ModelChoice(
        str(folder / "backbone.safetensors"), str(folder / "sae.safetensors"), "cpu"
    )


@pytest.fixture(scope="session")
def smear() -> np.ndarray:
    """Red cells of 7.5 um and five white cells with nuclei, at 0.1 um a pixel."""
    rng = np.random.default_rng(0)
    rgb = np.full((360, 480, 3), (238, 236, 240), np.float64)
    centres = [(y, x) for y in range(45, 340, 90) for x in range(45, 470, 90)]
    white = {(45, 135), (135, 315), (225, 135), (225, 405), (315, 225)}
    for y, x in centres:
        if (y, x) in white:
            rgb[disk((y, x), 60, shape=rgb.shape[:2])] = (200, 190, 222)
            rgb[disk((y, x), 40, shape=rgb.shape[:2])] = (96, 60, 140)
        else:
            rgb[disk((y, x), 37, shape=rgb.shape[:2])] = (222, 170, 168)
            rgb[disk((y, x), 12, shape=rgb.shape[:2])] = (234, 205, 205)
    rgb += rng.normal(0, 3, rgb.shape)
    return np.clip(rgb, 0, 255).astype(np.uint8)


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def dock(viewer, small_models):
    """The dock, as napari opens it, with the small models chosen."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-cytosae", "CytoSAE")
    widget.session.choose(small_models)
    yield widget
    widget.leave()


@pytest.fixture
def until(qtbot):
    """Wait until something holds."""

    def wait(holds, timeout=20_000):
        qtbot.waitUntil(holds, timeout=timeout)

    return wait


@pytest.fixture
def opened(dock, viewer, smear, until):
    """The dock with the smear open and read."""
    viewer.add_image(smear, name="smear.png", scale=(0.1, 0.1))
    until(lambda: dock.session.image is not None)
    return dock


@pytest.fixture
def segmented(opened, until):
    opened.cells_panel.segment_clicked.emit()
    until(lambda: opened.layers.outlines.layer() is not None)
    return opened


@pytest.fixture
def encoded(segmented, until):
    """With every concept in the table, background too."""
    segmented.concepts_panel.model.set_keep("all")
    segmented.cells_panel.encode_clicked.emit()
    until(lambda: segmented.concepts_panel.model.rowCount() > 0)
    return segmented


def make_head(path, k=LATENTS, **about):
    rng = np.random.default_rng(0)
    part = Part("sqrt", rng.normal(0, 3, (3, k)), np.full(k, k**-0.5))
    made = Head(
        ("a", "b", "c"),
        np.arange(k),
        (part,),
        np.array([0.5, 0.0, -0.5]),
        0.2,
        np.full(k, k**-0.5),
        1.0,
        0.0,
        1.0,
        about=about,
    )
    write_head(made, path)
    return str(path)


@pytest.fixture
def folder(tmp_path, smear):
    """Two patients with a folder each; P has two images, one of them not open."""
    for name, rgb in (("P/1.png", smear), ("P/2.png", smear[::-1]), ("Q/1.png", smear.T)):
        path = tmp_path / "patients" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rgb = rgb if rgb.shape[2] == 3 else smear[:, ::-1]
        Pillow.fromarray(np.ascontiguousarray(rgb)).save(path)
    return tmp_path / "patients"


@pytest.fixture
def assigned(dock, folder, tmp_path):
    dialog = AssignDialog([])
    dialog.assigned.connect(dock.patients.assign)
    dialog.add_folder(str(folder))
    dialog.accept()
    dock.patient_panel.head_chosen.emit(make_head(tmp_path / "head.json"))
    dock.go_to_step("patient")
    return dock


@pytest.fixture
def predicted(assigned, until):
    assigned.patient_panel.predict_clicked.emit()
    until(lambda: assigned.patients.reading is not None)
    until(lambda: not assigned.desk.busy)
    return assigned

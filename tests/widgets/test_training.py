"""Step 1's lower half: every model with what it fits, and training an SAE from the dock."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from qtpy.QtWidgets import QPushButton
from safetensors.numpy import load_file

from napari_cytosae.core import image_training, registry
from napari_cytosae.core.checkpoints import inspect
from napari_cytosae.core.training_task import ImageTraining, state_path

STEPS = 64


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "cells"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(6):
        pixels = random.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(folder / f"cell {index}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n not really")
    return folder


@pytest.fixture
def filled(dock, images, tmp_path):
    """The form with everything chosen but `Train`."""
    form = dock.models_panel.training
    form.set_images(images)
    form.set_out(tmp_path / "new.safetensors")
    form._seen.setValue(16 * STEPS)
    form._latents.setCurrentIndex(0)
    form._k.setValue(4)
    return form


def train(form):
    button = next(b for b in form.findChildren(QPushButton) if b.text() == "Train")
    assert button.isEnabled()
    button.click()


def test_nothing_can_be_trained_before_images_and_file_are_chosen(dock, images, tmp_path):
    form = dock.models_panel.training
    assert not form._train.isEnabled()
    form.set_images(images)
    assert not form._train.isEnabled()
    form.set_out(tmp_path / "new")
    assert form._train.isEnabled()
    asked = []
    form.train_clicked.disconnect()
    form.train_clicked.connect(asked.append)
    train(form)
    assert asked == [
        ImageTraining(
            images=(images,),
            out=tmp_path / "new.safetensors",
            backbone="",
            expansion=16,
            k=32,
        )
    ]
    form._latents.setCurrentIndex(1)
    form._kind.setCurrentIndex(form._kind.findData("topk"))
    assert form._latents.currentData() == 2
    form._kind.setCurrentIndex(form._kind.findData("relu"))
    assert not form._k.isEnabled()
    train(form)
    assert (asked[1].kind, asked[1].expansion) == ("relu", 64)


def test_a_cancelled_training_goes_on_to_the_weights_of_an_unbroken_one(
    dock, filled, images, tmp_path, small_models, until
):
    out = tmp_path / "new.safetensors"
    train(filled)
    until(lambda: "Step" in filled._figures.text())
    assert not filled._train.isEnabled()
    dock.desk.cancel()
    until(lambda: not dock.desk.busy)
    assert "kept" in dock.strip.text
    assert not out.exists()
    assert state_path(out).exists()
    assert filled._resume.isVisibleTo(filled)
    assert filled._resume.isChecked()

    train(filled)
    until(lambda: out.exists() and not dock.desk.busy)
    assert f"{16 * STEPS:,} images seen; on training images" in filled._figures.text()
    assert "new.safetensors is trained; choose it" in dock.strip.text
    assert "1 image could not be read" in dock.strip.text
    assert "broken.png" in dock.strip.text
    assert not filled._resume.isVisibleTo(filled)
    title = "new.safetensors + backbone.safetensors"
    assert dock.models_panel._combo.findText(title) >= 0
    # What is chosen, and what was made with it, stays.
    assert dock.session.choice == small_models

    task = ImageTraining(
        images=(images,),
        out=tmp_path / "whole.safetensors",
        backbone=small_models.backbone,
        expansion=1,
        k=4,
        images_seen=16 * STEPS,
        device="cpu",
    )
    for _ in image_training.train_on_images(task):
        pass
    whole, parts = load_file(task.out), load_file(out)
    for name, tensor in whole.items():
        np.testing.assert_array_equal(parts[name], tensor, name)


def test_what_cannot_be_trained_on_is_said(dock, filled, tmp_path, until):
    (tmp_path / "empty").mkdir()
    filled.set_images(tmp_path / "empty")
    train(filled)
    until(lambda: not dock.desk.busy)
    assert "No images are here" in dock.strip.text
    assert filled._train.isEnabled()


def test_all_models_are_listed_with_what_fits_them(dock, small_models, until):
    folder = registry.models_folder()
    folder.mkdir(parents=True)
    shutil.copy(small_models.backbone, folder / "mine.safetensors")
    shutil.copy(small_models.sae, folder / "dictionary.safetensors")
    (folder / "spoilt.pt").write_bytes(b"PK\x03\x04 nothing")
    panel = dock.models_panel
    panel._all.expand()
    tree = panel.models
    assert tree.topLevelItem(0).text(0) == "Looking at the models ..."
    until(lambda: tree.topLevelItemCount() > 1)
    lines = {}
    for row in range(tree.topLevelItemCount()):
        top = tree.topLevelItem(row)
        lines[top.text(0), top.text(2)] = [
            top.child(k).text(0) for k in range(top.childCount())
        ]
    assert "fits: starter" in lines["starter (SAE)", "built-in"]
    assert "fits: dictionary" in lines["mine (backbone)", "local"]
    assert "fits: mine" in lines["dictionary (SAE)", "local"]
    assert any("cannot be used" in line for line in lines["spoilt (file)", "local"])
    assert any("dinobloom-b" in line for line in lines["cytosae (SAE)", "not here"])
    assert any("licence" in line for line in lines["cytosae (SAE)", "not here"])
    index = panel._combo.findText("dictionary.safetensors + mine.safetensors")
    assert index >= 0
    panel.set_chosen.emit(index)
    assert dock.session.choice.sae == str(folder / "dictionary.safetensors")


@pytest.fixture
def published(small_models, tmp_path, monkeypatch):
    """The published models' addresses, on loopback; `small_models` stand in their place."""
    served = tmp_path / "served"
    served.mkdir()
    entries = []
    for entry in registry.KNOWN:
        if entry.name in ("cytosae", "dinobloom-b"):
            source = small_models.sae if entry.role == "sae" else small_models.backbone
            shutil.copy(source, served / entry.filename)
            entries.append(entry)
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        local = {
            entry: replace(entry, url=f"{root}/{entry.filename}", checksum_url="", size=0)
            for entry in entries
        }
        known = tuple(local.get(entry, entry) for entry in registry.KNOWN)
        monkeypatch.setattr(registry, "KNOWN", known)
        yield served
        server.shutdown()


def line_of(tree, title):
    items = [tree.topLevelItem(row) for row in range(tree.topLevelItemCount())]
    return next(item for item in items if item.text(0) == title)


def test_a_model_and_what_it_needs_are_downloaded_from_the_list(dock, published, until):
    panel, tree = dock.models_panel, dock.models_panel.models
    panel._all.expand()
    assert tree.topLevelItem(0).text(0) == "Looking at the models ..."
    until(lambda: tree.topLevelItemCount() > 1)
    button = tree.itemWidget(line_of(tree, "cytosae (SAE)"), 2)
    assert "licence: see https://nefeli" in button.toolTip()
    button.click()
    assert dock.desk.busy
    until(lambda: not dock.desk.busy)
    assert "Downloaded to" in dock.strip.text
    assert (
        registry.resolve("cytosae", "sae").read_bytes()
        == (
            published / "final_sparse_autoencoder_dinov2_vitb14_-2_resid_49152.pt"
        ).read_bytes()
    )
    until(lambda: line_of(tree, "cytosae (SAE)").text(2) == "downloaded")
    assert tree.itemWidget(line_of(tree, "cytosae (SAE)"), 2) is None
    # What is here can be trained on at once.
    form = panel.training
    assert form._backbone.findData("dinobloom-b") > 0
    assert panel._combo.findText("CytoSAE + DinoBloom-B") >= 0


def test_a_download_that_fails_says_what_to_fetch_by_hand(dock, published, until):
    for file in published.iterdir():
        file.unlink()
    dock.models.get("cytosae")
    until(lambda: not dock.desk.busy)
    for said in (
        "final_sparse_autoencoder",
        "DinoBloom-B.pth",
        str(registry.models_folder()),
    ):
        assert said in dock.strip.text


def test_the_form_trains_on_the_backbone_it_names(
    dock, filled, small_models, tmp_path, until
):
    folder = registry.models_folder()
    folder.mkdir(parents=True)
    shutil.copy(small_models.backbone, folder / "mine.safetensors")
    dock.models_panel._train.expand()
    until(lambda: filled._backbone.count() > 2)
    filled._backbone.setCurrentIndex(filled._backbone.findText("mine"))
    filled._layer.setValue(-1)
    train(filled)
    until(lambda: (tmp_path / "new.safetensors").exists() and not dock.desk.busy)
    info = inspect(tmp_path / "new.safetensors")
    name = inspect(folder / "mine.safetensors").name
    assert (info.backbone, info.layer) == (name, -1)


def test_memory_and_time_of_loading_are_said(dock, until):
    dock.models.load()
    until(lambda: dock.session.models is not None)
    models = dock.session.models
    vit, sae = 64 * 64 * 12 * 4, 2 * 64 * 256 * 4
    assert vit < models.weights_bytes < 4 * (vit + sae)
    assert models.load_seconds > 0
    assert f"loaded in {models.load_seconds:.1f} s" in dock.models_panel._memory.text()

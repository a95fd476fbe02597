"""The cells of open catalogues in the gallery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt

from napari_cytosae.core.catalogue import build, load
from napari_cytosae.core.class_labels import load_all


def choose_source(panel, source):
    sources = panel.below._sources
    sources.setCurrentIndex(sources.findData(source))
    sources.activated.emit(sources.currentIndex())


def test_the_gallery_shows_images_of_catalogues(encoded, smear, tmp_path, until):
    session, panel = encoded.session, encoded.concepts_panel
    models = session.models
    files = []
    for number, (label, (y, x)) in enumerate(
        [("mono", (45, 135)), ("mono", (135, 315)), ("lymph", (225, 135))]
    ):
        file = tmp_path / label / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(smear[y - 40 : y + 40, x - 40 : x + 40]).save(file)
        files.append((file, label))
    job = build(models, files, tmp_path / "here")
    for _ in job:
        pass
    built = load(tmp_path / "here")
    concept = int(np.argmax((built.values > 0).sum(axis=1)))
    expected = built.describe(concept).top
    assert len(expected) == 3
    # One image is gone, its label still speaks.
    gone = Path(expected[1][0])
    gone.unlink()
    assert [file is None for file in built.files(concept)] == [False, True, False]
    session.exploration.set_catalogues(load_all(tmp_path / "here"), None)
    session.focus.select_concept(concept)
    choose_source(panel, "catalogue")
    until(lambda: len(panel.gallery.model()._cells) == 3)
    cells = panel.gallery.model()._cells
    assert [cell.crop is None for cell in cells] == [False, True, False]
    assert [float(cell.caption) for cell in cells] == pytest.approx(
        [value for *_, value in expected], rel=0.06
    )
    assert cells[1].words == expected[1][1]
    first = models.latents([cells[0].crop], [concept])[0, 1:, 0].reshape(16, 16)
    np.testing.assert_allclose(cells[0].draw().grid, first, rtol=0.02, atol=0.02)
    assert not gallery_icon(panel, 1).isNull()
    panel.gallery.setCurrentIndex(panel.gallery.model().index(0))
    assert f"{expected[0][1]}, {expected[0][0]}" in encoded.strip.text
    assert "3 images drive" in panel.below._caption.text()
    choose_source(panel, "image")
    until(lambda: len(panel.gallery.model()._cells) != 3)


def gallery_icon(panel, row):
    return panel.gallery.model().index(row).data(Qt.ItemDataRole.DecorationRole)

"""A session's folder read back to the bit, refused where it is damaged."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as PillowImage

import napari_cytosae as cyto
from napari_cytosae.core import pipeline
from napari_cytosae.core._level import Level
from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.core.saved_image import SavedImage
from napari_cytosae.core.session_file import SavedSession, load_session, save_session
from napari_cytosae.core.types import CytoError, OccupiedError


@pytest.fixture(scope="module")
def saved(weights, data_dir):
    models = cyto.load_models(
        weights / "vit.safetensors", weights / "sae.safetensors", "cpu", "float32"
    )
    images = []
    for number, path in enumerate(sorted((data_dir / "bccd").rglob("*.jpg"))[2:4]):
        image = cyto.read_image(path)
        found = pipeline.run(pipeline.analyze_image(image, models))
        assert len(found.cells)
        state = {"verdicts": [[1, number, "accept"]]}
        cells = replace(found.cells, notes=("2 of 9 tiles left out",))
        images.append(SavedImage(image, cells, found.crops, found.encoded, state))
    images.append(SavedImage(image, images[0].cells, state={}))  # not encoded
    images.append(SavedImage(image))  # not segmented
    hashes = models.sae_info.sha256, models.backbone_info.sha256
    return SavedSession(tuple(images), {"choice": {"sae": "größte"}}, *hashes)


def write(folder, session):
    return pipeline.run(save_session(folder, session))


def test_everything_comes_back_to_the_bit(saved, tmp_path):
    write(tmp_path / "s", saved)
    session = load_session(tmp_path / "s")
    assert session.view == saved.view
    assert session.sae_sha256 == saved.sae_sha256 != session.backbone_sha256
    assert session.backbone_sha256 == saved.backbone_sha256
    assert len(session.images) == len(saved.images) == 4
    for one, other in zip(session.images[:2], saved.images[:2], strict=True):
        assert_same(one, other)
    assert session.images[2].encoded is None
    np.testing.assert_array_equal(
        session.images[2].cells.labels, saved.images[0].cells.labels
    )
    assert session.images[3].cells is None
    write(tmp_path / "s", session)  # over the former one
    assert load_session(tmp_path / "s").view == saved.view


def test_what_is_not_the_sessions_own_stays(saved, tmp_path):
    folder = write(tmp_path / "s", saved)
    (folder / "notes.txt").write_text("mine")
    (folder / "export").mkdir()
    (folder / "export" / "concepts.csv").write_text("concept")
    (folder / "names.json").write_text("{}")  # the session's: written anew by who saves
    write(folder, replace(saved, images=saved.images[:2], view={"choice": "new"}))
    assert {path.name for path in folder.iterdir()} == {
        *("session.json", "1", "2", "notes.txt", "export")
    }
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "export" / "concepts.csv").read_text() == "concept"
    assert load_session(folder).view == {"choice": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    # Within the folder of an image nothing can be kept: it is said.
    (folder / "2" / "figure.png").write_text("mine")
    with pytest.raises(OccupiedError, match=r"2 holds files that are not the session's"):
        write(folder, saved)
    assert (folder / "2" / "figure.png").read_text() == "mine"
    assert load_session(folder).view == {"choice": "new"}
    one = write(folder, replace(saved, images=saved.images[:1]))
    assert (one / "2" / "figure.png").read_text() == "mine"


def test_a_session_of_another_program_is_not_replaced(saved, tmp_path):
    (tmp_path / "session.json").write_text('{"schema": 2, "tabs": []}')
    with pytest.raises(OccupiedError, match="other files"):
        write(tmp_path, saved)
    assert (tmp_path / "session.json").read_text() == '{"schema": 2, "tabs": []}'


def assert_same(back, saved):
    np.testing.assert_array_equal(back.image.rgb, saved.image.rgb)
    assert (back.image.sha256, back.image.name) == (saved.image.sha256, saved.image.name)
    assert back.image.pixel_size == saved.image.pixel_size
    assert back.cells.pixel_size == saved.cells.pixel_size
    assert back.cells.pixel_size.seen_um == saved.cells.pixel_size.seen_um
    assert back.cells.notes == saved.cells.notes
    np.testing.assert_array_equal(back.cells.nuclei, saved.cells.nuclei)
    pd.testing.assert_frame_equal(back.cells.table, saved.cells.table, check_dtype=False)
    for name in ("n_patches", "max", "mean", "mean_with_cls", "cls"):
        one, other = (getattr(s.encoded.activations, name) for s in (back, saved))
        np.testing.assert_array_equal(one.toarray(), other.toarray())
        assert one.dtype == other.dtype
    np.testing.assert_array_equal(back.encoded.tokens, saved.encoded.tokens)
    for one, other in zip(back.crops.images, saved.crops.images, strict=True):
        np.testing.assert_array_equal(one, other)
    assert back.crops.field_of_view_um == saved.crops.field_of_view_um
    assert back.state == saved.state


def test_what_is_no_session_is_said_and_nothing_lost(saved, tmp_path):
    with pytest.raises(CytoError, match="holds no session"):
        load_session(tmp_path)
    PillowImage.new("RGB", (3, 3)).save(tmp_path / "holiday.png")
    with pytest.raises(OccupiedError, match="other files"):
        write(tmp_path, saved)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]
    folder = write(tmp_path / "s", saved)
    arrays = (folder / "2" / "encoded.npz").read_bytes()
    (folder / "2" / "encoded.npz").write_bytes(arrays[:1000])
    with pytest.raises(CytoError, match="is damaged"):
        load_session(folder)
    about = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    (folder / "session.json").write_text(json.dumps(about | {"schema": 99}))
    with pytest.raises(CytoError, match="another version"):
        load_session(folder)


def test_cells_of_another_size_are_damage(saved, tmp_path):
    write(tmp_path / "s", saved)
    tifffile.imwrite(tmp_path / "s" / "1" / "nuclei.tif", np.zeros((50, 60), np.int32))
    with pytest.raises(CytoError, match=r"is damaged: nuclei\.tif has another size"):
        load_session(tmp_path / "s")


def test_a_slide_without_a_file_cannot_be_left_in_it(saved, tmp_path):
    image = saved.images[0].image
    slide = Pyramid.of([Level(image.rgb, "YXS")], "piped", image.pixel_size)
    with pytest.raises(CytoError, match="piped has no file"):
        write(tmp_path / "s", replace(saved, images=(SavedImage(slide),)))
    assert not (tmp_path / "s").exists()

"""The explorer in the dock: what is clicked, what is shown, and that the numbers agree."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from napari.utils import notifications
from napari.utils.theme import get_theme
from qtpy.QtCore import QPointF, Qt
from qtpy.QtPdf import QPdfDocument
from qtpy.QtTest import QTest
from scipy import sparse

from napari_cytosae.core._drawing import blend_grid
from napari_cytosae.core.concepts import Annotation, ConceptNames
from napari_cytosae.core.enrichment import compare, enriched, likeness
from napari_cytosae.core.pipeline import run
from napari_cytosae.core.types import PixelSize
from napari_cytosae.session import Session
from napari_cytosae.session_found import Found
from napari_cytosae.session_values import (
    CellSettings,
    Look,
    ModelChoice,
    TableView,
)
from napari_cytosae.widgets import _concept_tasks, _session_tasks
from napari_cytosae.widgets._concept_rows import ConceptRows
from napari_cytosae.widgets._settings import CellsSettings, PanelSettings
from napari_cytosae.widgets.cells_panel import CellsPanel
from napari_cytosae.widgets.concept_model import HEADERS, STAR
from napari_cytosae.widgets.concepts_panel import ConceptsPanel
from napari_cytosae.widgets.gallery import picture
from napari_cytosae.widgets.group_heatmap import GroupHeatmap
from napari_cytosae.widgets.latent_atlas import FLAGS, LatentAtlas
from napari_cytosae.widgets.lower_tabs import LowerTabs
from napari_cytosae.widgets.notes_editor import NotesEditor
from napari_cytosae.widgets.patch_inspector import PICTURE_PX
from napari_cytosae.widgets.tools_menu import LONG, TOOLS

KEYS = list(HEADERS)


@pytest.fixture
def panel(encoded):
    encoded.concepts_panel.model.set_keep("all")  # background too, once it is known
    return encoded.concepts_panel


def choose_source(panel, source):
    sources = panel.below._sources
    sources.setCurrentIndex(sources.findData(source))
    sources.activated.emit(sources.currentIndex())


def flagged(panel):
    """Flags by concept, of all rows that have any."""
    model, column = panel.model, KEYS.index("flags")
    shown = {
        model.concept_at(row): model.index(row, column).data(Qt.ItemDataRole.ToolTipRole)
        for row in range(model.rowCount())
    }
    return {concept: flags for concept, flags in shown.items() if flags}


def concepts(panel, count):
    return [panel.model.concept_at(row) for row in range(count)]


def captions(panel):
    model = panel.gallery.model()
    return [model.index(row).data() for row in range(model.rowCount())]


# --- rows -----------------------------------------------------------------------------


def rows() -> ConceptRows:
    frame = pd.DataFrame(
        {
            "concept": [12, 120, 7, 55],
            "name": ["Auer rods", "", "", "rim"],
            "here": [1.0, 2, 3, 4],
            "prevalence": 0.5,
            "specificity": 0.1,
            "where": "",
            "flags": ["", "always-on; background", "unstable", ""],
            "class": ["", "basophil (MLL23 10/10)", "monocyte (MLL23 4/10)", ""],
        }
    )
    said = {
        12: Annotation("Auer rods", ("inclusions: Auer rod",), "", True),
        55: Annotation("rim", ("cytoplasm: border",)),
    }
    return ConceptRows.of(frame).said(said)


def found(search="", keep="all"):
    order = rows().order("concept", descending=False, search=search, keep=keep)
    return rows().concept[order].tolist()


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("12", [12, 120]),
        ("AUER", [12]),
        ("basophil", [120]),
        ("border", [55]),
        ("rods inclusions", [12]),
        ("basofil", [120]),  # a typing error
        ("auer rots", [12]),
        ("monozyte", [7]),
        ("xyz", []),
    ],
)
def test_search_looks_at_id_name_tags_and_class_and_forgives(search, expected):
    assert found(search) == expected


def test_filters_by_what_was_said_and_flagged():
    assert found(keep="stars") == [12]
    assert found(keep="said") == [12, 55]
    assert found(keep="flags") == [12, 55]
    assert found(keep="always") == [7, 12, 55]


# --- naming ---------------------------------------------------------------------------


def test_star_tags_and_notes_are_kept_shown_and_taken_back(encoded, panel, qtbot):
    session, model = encoded.session, panel.model
    concept = model.concept_at(1)
    session.focus.select_concept(concept)
    panel.table.setFocus()
    qtbot.keyClick(panel.table, Qt.Key.Key_S)
    row = model.row_of(concept)
    assert model.index(row, 2).data().startswith(STAR)
    notes = panel.below.notes
    notes._tags.setText("stage: blast; granules: toxic")
    notes._tags.editingFinished.emit()
    notes._note.setPlainText("seen twice")
    notes._note.left.emit()
    said = session.naming.names.annotation(concept)
    assert said == Annotation("", ("granules: toxic", "stage: blast"), "seen twice", True)
    assert model.index(row, KEYS.index("tags")).data() == "granules: toxic; stage: blast"
    model.set_search("blast")
    assert model.rowCount() == 1
    model.set_search("")
    for _ in range(3):
        notes.undo_clicked.emit()
    assert session.naming.names.annotation(concept) == Annotation()
    assert not model.index(model.row_of(concept), 2).data().startswith(STAR)
    assert notes._tags.text() == ""


def test_a_vocabulary_word_is_one_click(qtbot):
    editor = NotesEditor()
    qtbot.addWidget(editor)
    editor.set_annotation(Annotation("x", ("my own",)))
    editor._menu.aboutToShow.emit()
    group = next(a.menu() for a in editor._menu.actions() if a.text() == "inclusions")
    action = next(a for a in group.actions() if a.text() == "Auer rod")
    with qtbot.waitSignal(editor.edited) as caught:
        action.trigger()
    assert caught.args[0].tags == ("my own", "inclusions: Auer rod")
    editor.set_annotation(None)
    assert not editor.isEnabled()


def test_names_are_merged_from_a_file_and_conflicts_said(encoded, panel, tmp_path):
    session = encoded.session
    first, second = panel.model.concept_at(0), panel.model.concept_at(1)
    session.naming.rename(first, "mine")
    table = tmp_path / "names.csv"
    table.write_text(f"concept,name,tags\n{first},theirs,stage: band\n{second},new,\n")
    panel.tools.chosen.emit("import", str(table))
    assert session.naming.name_of(first) == "mine"
    assert session.naming.name_of(second) == "new"
    assert "'mine' stands, theirs was 'theirs'" in encoded.strip.text
    panel.tools.chosen.emit("export", str(tmp_path / "sent.json"))
    sent = json.loads((tmp_path / "sent.json").read_text(encoding="utf-8"))
    assert sent["names"][session.naming.names.sae_sha256][str(second)] == "new"
    panel.tools.chosen.emit("undo", "")
    assert session.naming.name_of(second) == ""


# --- search by example ----------------------------------------------------------------


def test_examples_rank_concepts_and_all_other_cells(encoded, panel, until):
    session = encoded.session
    ids = session.encoded.cell_ids
    session.focus.select_cells((int(ids[1]), int(ids[3])))
    session.focus.set_scope("like")
    mean = session.encoded.activations.mean
    score = likeness(mean, [1, 3], enriched(mean, [1, 3]))
    others = sorted({0, 2, 4}, key=lambda row: -score[row])
    expected = ["example", "example", *(f"{score[row]:.2f}" for row in others)]
    until(lambda: captions(panel) == expected)
    # Looking at one of them changes neither the examples nor the order.
    panel.gallery.setCurrentIndex(panel.gallery.model().index(3))
    assert session.focus.selection.cell_ids == (int(ids[others[1]]),)
    sha256 = session.image.sha256
    assert session.focus.examples == ((sha256, int(ids[1])), (sha256, int(ids[3])))
    assert captions(panel) == expected
    # The table puts first what they share, in the order that the gallery goes by.
    weights = enriched(mean, [1, 3], limit=mean.shape[1])
    listed = list(weights)
    until(lambda: concepts(panel, len(listed)) == listed)
    model, column = panel.model, KEYS.index("specificity")
    shown = [model.index(row, column).data() for row in range(model.rowCount())]
    assert shown[:3] == [f"{weights[concept]:.2f}" for concept in listed[:3]]
    assert set(shown[len(listed) :]) == {""}
    session.focus.set_scope("image")
    here = session.encoded.activations.mean.toarray().mean(axis=0)
    until(lambda: concepts(panel, 3) == np.argsort(-here)[:3].tolist())


def test_the_fdr_column_is_that_of_the_selection(encoded, panel, until):
    session = encoded.session
    ids = session.encoded.cell_ids
    session.focus.select_cells(tuple(int(i) for i in ids[:2]))
    session.focus.set_scope("cells")
    expected = compare(session.encoded.activations.mean, [0, 1])["fdr"]
    assert expected.isna().all()  # two cells do not suffice
    column = KEYS.index("fdr")
    until(lambda: panel.model.index(0, column).data() == "")
    assert panel.table.isColumnHidden(column)
    menu = panel.table.columns_menu()
    next(action for action in menu.actions() if action.text() == "FDR").trigger()
    assert panel.table.shown_columns() == ["fdr"]


def test_a_kind_of_cell_and_the_accepted_cells_can_be_ranked_by(encoded, panel, until):
    session = encoded.session
    ids = session.encoded.cell_ids
    expected = ConceptRows.of(_ranked(session, [1, 3]))
    session.focus.set_scope("accepted")
    assert "Accept cells first" in encoded.strip.text
    concept = int(expected.concept[0])
    session.review.judge(concept, [int(ids[1]), int(ids[3])], "accept")
    session.review.judge(concept, [int(ids[0])], "reject")
    until(lambda: panel.model.rowCount() == len(expected.concept))
    assert panel.model.concept_at(0) == concept
    cell = panel.model.index(0, KEYS.index("specificity")).data()
    assert float(cell) == pytest.approx(expected.numbers["specificity"][0], abs=0.01)
    session.focus.set_scope("wbc")
    whole = ConceptRows.of(_ranked(session, None))
    until(lambda: panel.model.rowCount() == len(whole.concept))
    session.focus.set_scope("platelet")
    assert panel.model.rowCount() == 0
    assert "no cells of this kind" in encoded.strip.text


def _ranked(session, rows):
    from napari_cytosae.core.concepts import ranking

    table = ranking(session.encoded.activations, rows)
    return table.assign(where="", flags="")


def test_a_patient_is_ranked_over_all_of_his_images(encoded, panel, until):
    from dataclasses import replace

    from napari_cytosae.core.concepts import ranking
    from napari_cytosae.core.encoded_cells import concatenate, rows
    from napari_cytosae.patient_session import PatientImage

    session, patients = encoded.session, encoded.patients
    session.focus.set_scope("patient")
    assert "Choose a patient" in encoded.strip.text
    cells, crops = session.cells, session.crops
    first, second = (rows(session.encoded, np.array(take)) for take in ([0, 1], [2, 4]))
    for key, part in (("a" * 64, first), ("b" * 64, second)):
        table = cells.table.assign(image=f"{key[0]}.png")
        found = Found(replace(cells, table=table), crops=crops, encoded=part)
        session.keep(key, found)
    patients.assign([(PatientImage(f"{k}.png", f"{k}.png"), "P1") for k in "ab"])
    pooled = concatenate([first, second, session.encoded])
    expected = ranking(pooled.activations, [0, 1, 2, 3]).set_index("concept")
    until(lambda: panel.model.rowCount() == len(expected))
    best = panel.model.concept_at(0)
    assert best == expected.index[0]
    value = panel.model.index(0, KEYS.index("specificity")).data()
    assert float(value) == pytest.approx(expected["specificity"].iloc[0], abs=0.01)
    assert session.rows().size == 5


# --- gallery --------------------------------------------------------------------------


def test_activation_is_drawn_into_the_cells(encoded, panel, until):
    session = encoded.session
    concept = panel.model.concept_at(0)
    session.focus.select_concept(concept)
    gallery = panel.gallery.model()
    until(lambda: gallery.rowCount() and "strongest" in gallery.index(0).data(3))
    cell = gallery._cells[0]
    row = list(session.encoded.cell_ids).index(cell.key[1])
    grid = session.models.concept_grids(session.encoded, [concept])[0, row]
    np.testing.assert_allclose(cell.draw().grid, grid, rtol=1e-5)
    assert cell.caption == f"{session.encoded.activations.max[row, concept]:.2f}"
    # In the colour that the concept has on the slide; the cells stay where they are.
    assert cell.draw().colour == "cyan"
    resets = []
    gallery.modelReset.connect(lambda: resets.append(1))
    session.overlays.show(concept, 2)
    until(lambda: gallery._cells[0].draw().colour == "lime")
    session.overlays.hide(concept)
    until(lambda: gallery._cells[0].draw().colour == "cyan")
    assert not resets
    panel.below.set_draws(False)
    until(lambda: gallery._cells[0].draw is None)


def test_cells_of_all_images_are_shown_and_lead_to_their_image(
    encoded, viewer, panel, smear, until, tmp_path
):
    session, gallery = encoded.session, panel.gallery
    first = session.image.sha256
    concept = panel.model.concept_at(0)
    viewer.add_image(smear[:, ::-1].copy(), name="mirrored.png", scale=(0.1, 0.1))
    encoded.cells_panel.image_chosen.emit(1)
    until(lambda: session.image is not None and session.image.sha256 != first)
    second = session.image.sha256
    encoded.cells_panel.segment_clicked.emit()
    until(lambda: session.cells is not None)
    encoded.cells_panel.encode_clicked.emit()
    until(lambda: session.encoded is not None and session.encoded.complete)
    session.focus.select_concept(concept)
    found = session.encoded_images()
    strongest = {
        (key, int(cell)): float(encoded_.activations.max[row, concept])
        for key, (_, _, encoded_) in found.items()
        for row, cell in enumerate(encoded_.cell_ids)
    }
    expected = sorted((v for v in strongest.values() if v > 0), reverse=True)
    until(lambda: captions(panel) == [f"{value:.2f}" for value in expected])
    cells = gallery.model()._cells
    assert {cell.key[0] for cell in cells} == {first, second}
    for cell in cells:
        assert float(cell.caption) == pytest.approx(strongest[cell.key], abs=0.006)
    row = next(row for row, cell in enumerate(cells) if cell.key[0] == first)
    gallery.setCurrentIndex(gallery.model().index(row))
    until(lambda: session.image is not None and session.image.sha256 == first)
    until(lambda: session.focus.selection.cell_ids == (cells[row].key[1],))
    assert viewer.layers["smear.png"].visible
    assert not viewer.layers["mirrored.png"].visible
    shown = {layer.name: layer.visible for layer in viewer.layers if "Cells" in layer.name}
    assert sorted(shown.values()) == [False, True]
    # Verdicts of both images are marked, counted and written, whichever is in front.
    until(lambda: len({cell.key[0] for cell in gallery.model()._cells}) == 2)
    there = next(c.key[1] for c in gallery.model()._cells if c.key[0] == second)
    here = session.focus.selection.cell_ids[0]
    panel.judged.emit("accept")
    session.review.judge(concept, [there], "reject", second)
    verdicts = gallery.model()._verdicts
    assert verdicts == {(first, here): "accept", (second, there): "reject"}
    assert session.review.here() == [(concept, here, "accept")]
    until(lambda: "1 accepted, 1 rejected" in panel.below._caption.text())
    until(lambda: session.encoded is not None and not encoded.desk.busy)
    panel.export_clicked.emit(str(tmp_path))
    # Not in the folder under its temporary name, which may go while it is looked into.
    until(lambda: any(tmp_path.glob("[!.]*/review.csv")))
    review = pd.read_csv(next(tmp_path.glob("[!.]*/review.csv"))).set_index("image")
    assert review["cell_id"].to_dict() == {"smear.png": here, "mirrored.png": there}
    choose_source(panel, "image")
    until(lambda: {cell.key[0] for cell in gallery.model()._cells} == {first})
    assert "1 accepted, 0 rejected" in panel.below._caption.text()
    choose_source(panel, "all")
    until(lambda: len({cell.key[0] for cell in gallery.model()._cells}) == 2)
    # An image that nobody encoded is missed in words, and no more once it is closed.
    viewer.add_image(smear[::-1].copy(), name="upside down.png", scale=(0.1, 0.1))
    # The dock follows to it; the others are a choice away.
    until(lambda: session.image is not None and session.image.sha256 not in found)
    encoded.image.look_at_image(first)
    until(lambda: session.image is not None and session.image.sha256 == first)
    until(lambda: panel.below._sources.currentText() == "2 of 3 images")
    missing = "; 1 open image left out, not encoded"
    until(lambda: panel.below._caption.text().endswith(missing))
    viewer.layers["upside down.png"].visible = True
    # Whatever lies over the cell that is clicked is hidden, also what nobody looked at.
    below = next(c.key for c in gallery.model()._cells if c.key[0] == first)
    gallery.cell_activated.emit(below)
    until(lambda: session.image is not None and session.image.sha256 == first)
    seen = {layer.name for layer in encoded.layers.images() if layer.visible}
    assert seen == {"smear.png"}
    gallery.cell_activated.emit((second, there))
    until(lambda: session.image is not None and session.image.sha256 == second)
    until(lambda: session.encoded is not None)
    seen = [layer.name for layer in encoded.layers.images() if layer.visible]
    assert seen[-1] == "mirrored.png"
    outlined = [la for la in encoded.layers.tagged("cells") if la.visible]
    assert outlined == encoded.layers.of_source("cells")
    gallery.cell_activated.emit(below)
    until(lambda: session.image is not None and session.image.sha256 == first)
    until(lambda: session.encoded is not None)
    choose_source(panel, "image")
    until(lambda: "left out" not in panel.below._caption.text())
    choose_source(panel, "all")
    until(lambda: "left out" in panel.below._caption.text())
    viewer.layers.remove("upside down.png")
    assert panel.below._sources.currentText() == "all images"
    assert "left out" not in panel.below._caption.text()
    viewer.layers.remove("mirrored.png")
    there = [cell.key[0] for cell in gallery.model()._cells].index(second)
    gallery.setCurrentIndex(gallery.model().index(there))
    assert "no longer open" in encoded.strip.text
    # And is not offered any more.
    until(lambda: {cell.key[0] for cell in gallery.model()._cells} == {first})
    assert panel.below._sources.isHidden()


def test_a_review_list_is_made_with_two_keys_and_exported(
    encoded, panel, qtbot, until, tmp_path
):
    session = encoded.session
    concept = panel.model.concept_at(0)
    session.focus.select_concept(concept)
    gallery = panel.gallery
    until(lambda: gallery.model().rowCount() and "." in captions(panel)[0])
    gallery.setCurrentIndex(gallery.model().index(0))
    first = session.focus.selection.cell_ids[0]
    qtbot.keyClick(gallery, Qt.Key.Key_A)
    second = session.focus.selection.cell_ids[0]
    assert second != first
    qtbot.keyClick(gallery, Qt.Key.Key_R)
    assert session.review.here() == sorted(
        [(concept, first, "accept"), (concept, second, "reject")]
    )
    assert [text[0] for text in captions(panel)[:2]] == ["\u2714", "\u2718"]
    panel.tools.set_extras(["wide", "geojson"])
    panel.export_clicked.emit(str(tmp_path))
    folder = tmp_path / "smear"
    until(lambda: (folder / "run.json").exists())
    review = pd.read_csv(folder / "review.csv")
    assert set(zip(review["cell_id"], review["verdict"], strict=True)) == {
        (first, "accept"),
        (second, "reject"),
    }
    assert len(pd.read_csv(folder / "concepts_wide.csv")) == 5
    assert len(json.loads((folder / "cells.geojson").read_text())["features"]) == 5
    # The same key again changes nothing, nor does it on the last cell; another one does.
    both = session.review.here()
    session.review.judge(concept, [first], "accept")
    assert session.review.here() == both
    last = gallery.model().rowCount() - 1
    gallery.setCurrentIndex(gallery.model().index(last))
    end = session.focus.selection.cell_ids[0]
    for _ in range(2):
        qtbot.keyClick(gallery, Qt.Key.Key_A)
        assert (concept, end, "accept") in session.review.here()
    qtbot.keyClick(gallery, Qt.Key.Key_R)
    assert (concept, end, "reject") in session.review.here()
    qtbot.keyClick(gallery, Qt.Key.Key_U)
    assert session.review.here() == both
    assert session.focus.selection.cell_ids == (end,)


# --- patch inspector ------------------------------------------------------------------


def test_the_patch_under_the_cursor_is_inspected_and_pinned(encoded, panel, qtbot, until):
    session = encoded.session
    panel.below.setCurrentWidget(panel.below.inspector)
    inspector = panel.below.inspector
    row = 2
    cell = int(session.encoded.cell_ids[row])
    table = session.cells.table.set_index("cell_id")
    y, x = table.loc[cell, ["centroid_y", "centroid_x"]].astype(float)
    encoded.layers.hovered.emit(y, x)
    until(lambda: f"Cell {cell}," in inspector._text.text())
    box = session.encoded.boxes[row]
    patch_row = int((y + 0.5 - box[0]) * 16 / (box[2] - box[0]))
    patch_column = int((x + 0.5 - box[1]) * 16 / (box[3] - box[1]))
    assert f"patch {patch_row}, {patch_column}" in inspector._text.text()
    latents = session.models.latents([session.crops.images[row]])
    patch = latents[0, 1 + 16 * patch_row + patch_column]
    best = int(patch.argmax())
    assert f'href="{best}"' in inspector._text.text().split("<br>")[1]
    assert inspector._picture.pixmap().width() > 50
    # Shift+click pins: the cursor goes on, the patch stays.
    encoded.layers.clicked.emit(y, x, True)
    until(lambda: "(pinned)" in inspector._text.text())
    before = inspector._text.text()
    encoded.layers.hovered.emit(y + 20, x)
    assert inspector._text.text() == before
    inspector.concept_clicked.emit(best)
    assert session.focus.selection.concept == best


def test_the_map_of_a_cell_is_that_of_the_selected_concept(encoded, panel, until):
    session = encoded.session
    panel.below.setCurrentWidget(panel.below.inspector)
    inspector = panel.below.inspector
    row = 1
    cell, crop = int(session.encoded.cell_ids[row]), session.crops.images[row]
    y, x = session.cells.table.set_index("cell_id").loc[cell, ["centroid_y", "centroid_x"]]
    encoded.layers.hovered.emit(float(y), float(x))
    until(lambda: f"Cell {cell}," in inspector._text.text())
    links = re.findall(r'href="(\d+)"', inspector._text.text())
    strongest, second = int(links[0]), int(links[1])

    def shows(concept, colour):
        grid = session.models.concept_grids(session.encoded, [concept])[0, row]
        drawn = picture(blend_grid(crop, grid, colour, grid.max()), PICTURE_PX).toImage()
        title = session.naming.title_of(concept)
        shown = inspector._drawn.text(), inspector._picture.pixmap().toImage()
        return shown == (title, drawn)

    assert session.focus.selection.concept is None
    assert shows(strongest, "cyan")
    # Clicked in the list: its map, in the colour it has over the slide.
    inspector.concept_clicked.emit(second)
    assert shows(second, "cyan")
    session.overlays.show(second, 3)
    assert shows(second, "magenta")
    # One that is silent in the cell has no map there.
    silent = session.encoded.activations.max[[row]].toarray()[0].argmin()
    assert session.encoded.activations.max[[row], [silent]] == 0
    session.focus.select_concept(int(silent))
    assert shows(strongest, "cyan")


# --- tools ----------------------------------------------------------------------------


def write_catalogue(root, d_sae, concept):
    """Statistics in which one concept fires, in ten basophils."""
    import torch

    folder = root / "feature_data" / "mll23"
    folder.mkdir(parents=True)
    values, labels = torch.zeros(d_sae, 10), torch.zeros(d_sae, 10, dtype=torch.int64)
    values[concept] = 1.0
    for name, tensor in {
        "max_activating_image_values": values,
        "max_activating_image_indices": labels.float(),
        "max_activating_image_label_indices": labels,
        "sae_mean_acts": values[:, 0],
        "sae_sparsity": values[:, 0],
        "top_entropy": values[:, 0],
    }.items():
        torch.save(tensor, folder / f"{name}.pt")
    (folder / "classnames.txt").write_text("basophil\nmonocyte\n")
    return folder


def test_a_catalogue_is_read_before_there_is_an_image(dock, until, tmp_path):
    session, panel = dock.session, dock.concepts_panel
    write_catalogue(tmp_path, 256, 99)
    dock.go_to_step("concepts")
    assert panel._more.isVisibleTo(dock)
    assert panel._stack.currentIndex() == 0
    panel.tools.chosen.emit("atlas", "")
    assert "open a catalogue" in dock.strip.text
    panel.tools.chosen.emit("catalogue", str(tmp_path))
    until(lambda: panel.model.rowCount() == 1, 60_000)
    assert panel._stack.currentIndex() == 2
    assert not panel._export.isVisibleTo(dock)
    panel.model.set_search("basophil")
    shown = [panel.model.index(0, KEYS.index(k)).data() for k in ("name", "here")]
    assert shown == ["basophil (MLL23 10/10)", "1.00"]
    session.focus.select_concept(99)
    panel.tools.chosen.emit("passport", str(tmp_path / "99.html"))
    until(lambda: (tmp_path / "99.html").exists())
    assert "basophil" in (tmp_path / "99.html").read_text(encoding="utf-8")
    # A second data set of the SAE can be chosen, and these cells where there are any.
    matek = write_catalogue(tmp_path / "more", 256, 7)
    matek.rename(tmp_path / "feature_data" / "matek")
    panel.tools.chosen.emit("catalogue", str(tmp_path))
    until(lambda: len(session.exploration.catalogues) == 2)
    panel.tools.chosen.emit("atlas", "")
    children = panel.findChildren
    until(lambda: any(a._points is not None for a in children(LatentAtlas)))
    (atlas,) = children(LatentAtlas)
    assert (atlas._points.title, atlas._points.concepts.tolist()) == ("MLL23", [99])
    offered = [atlas._sources.itemText(i) for i in range(atlas._sources.count())]
    assert offered == ["MLL23", "Matek"]
    atlas._sources.setCurrentText("Matek")
    atlas._sources.textActivated.emit("Matek")
    until(lambda: atlas._points.title == "Matek")
    assert atlas._points.concepts.tolist() == [7]
    session.choose(ModelChoice())
    assert panel._stack.currentIndex() == 0


def test_catalogue_gives_classes_before_names(encoded, panel, until, tmp_path):
    import torch

    session = encoded.session
    concept = panel.model.concept_at(2)
    folder = write_catalogue(tmp_path, session.models.sae_info.d_sae, concept)
    panel.tools.chosen.emit("catalogue", str(tmp_path))
    until(lambda: session.exploration.classes is not None)
    panel.model.set_search("basophil")
    until(lambda: panel.model.rowCount() == 1)
    assert panel.model.index(0, 2).data() == "basophil (MLL23 10/10)"
    assert panel.model.index(0, 2).data(Qt.ItemDataRole.EditRole) == ""
    assert "H" in panel.model.index(0, KEYS.index("flags")).data()
    # Of another SAE: not joined with these cells, and what was opened stays.
    for path in folder.glob("*.pt"):
        torch.save(torch.load(path, weights_only=True)[:99], path)
    panel.tools.chosen.emit("catalogue", str(tmp_path))
    until(lambda: "another SAE (99 concepts)" in encoded.strip.text)
    assert session.exploration.classes is not None
    assert len(session.exploration.catalogues["MLL23"]) == 256


@pytest.mark.parametrize("choice", [ModelChoice(), ModelChoice(sae="nowhere.pt")])
def test_a_catalogue_is_browsed_whatever_sae_is_loaded(dock, until, tmp_path, choice):
    session, panel = dock.session, dock.concepts_panel
    session.choose(choice)
    folder = write_catalogue(tmp_path, 1500, 1203)
    (folder / "catalogue.json").write_text(json.dumps({"sae": {"sha256": "e" * 64}}))
    names = ConceptNames("e" * 64)
    names.set(1203, "dark grains")
    panel.tools.chosen.emit("catalogue", str(tmp_path))
    browser = next(c for c in dock._controllers if hasattr(c, "_browser"))._browser
    until(lambda: browser.window is not None and browser.window.isVisible(), 60_000)
    window = browser.window
    assert "shown in a window of its own" in dock.strip.text
    assert not session.exploration.catalogues
    assert "1,500 concepts" in window.windowTitle()
    window.search.field.setText("basofil")
    until(lambda: window.model.rowCount() == 1)
    # What was said of this SAE's concepts, which is not that of the dock.
    assert window.model.index(0, KEYS.index("name")).data() == "dark grains"
    window.search.field.setText("grains")
    assert window.model.rowCount() == 1
    window.table.selectRow(0)
    until(lambda: "Concept 1203 dark grains: basophil (MLL23 10/10)" in window.about)
    assert "fires in 100.00% of the images, mean activation 1" in window.about
    until(lambda: window.gallery.model().rowCount() == 10)
    shown = window.gallery.model()
    assert {shown.index(row).data() for row in range(10)} == {"1"}
    assert "basophil, image" in shown.index(0).data(Qt.ItemDataRole.ToolTipRole)
    # Its own selection: the session knows nothing of such a concept.
    assert session.focus.selection.concept is None
    window.search.field.setText("")
    window.atlas_clicked.emit()
    until(lambda: browser.atlas is not None and browser.atlas.isVisible())
    assert browser.atlas._points.concepts.tolist() == [1203]
    assert browser.atlas._points.flags == ["always-on; high magnitude"]
    browser.atlas.concepts_picked.emit([5])
    until(lambda: window.model.rowCount() == 0)
    window.search.all.click()
    assert window.model.rowCount() == 1


def test_stability_is_measured_and_flags_concepts(encoded, panel, until):
    session = encoded.session
    panel.tools.chosen.emit("stability", "")
    until(lambda: session.exploration.stability is not None, timeout=60_000)
    table = session.exploration.stability
    unstable = set(table.index[table["stability"] < 0.5])
    column = KEYS.index("flags")

    def flagged():
        model = panel.model
        return {
            model.concept_at(row)
            for row in range(model.rowCount())
            if "U" in model.index(row, column).data()
        }

    until(lambda: flagged() == unstable)
    assert not panel.table.isColumnHidden(column)
    assert "unstable: U in the column headed !" in encoded.strip.text
    encoded.cells_panel.segment_clicked.emit()
    until(lambda: session.encoded is None)
    assert session.exploration.stability is None


def test_the_passport_is_one_file(encoded, panel, until, tmp_path):
    session = encoded.session
    panel.tools.chosen.emit("passport", str(tmp_path / "none"))
    assert "Select a concept" in encoded.strip.text
    concept = panel.model.concept_at(0)
    session.focus.select_concept(concept)
    session.naming.rename(concept, "a <name>")
    panel.tools.chosen.emit("passport", str(tmp_path / "page"))
    until(lambda: (tmp_path / "page.html").exists())
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"Concept {concept} a &lt;name&gt;" in text
    assert session.models.sae_info.sha256 in text
    assert "Similar concepts" in text
    # The table says where concepts fire as soon as it is worked out.
    until(lambda: not panel.model.not_located)
    flags = flagged(panel).get(concept, "none")
    assert f"<td>flags</td><td>{flags}</td>" in text
    assert "fdr" not in text
    assert [path.name for path in tmp_path.glob("*.html")] == ["page.html"]
    until(lambda: not encoded.desk.busy)
    panel.tools.chosen.emit("passport", str(tmp_path / "page.pdf"))
    until(lambda: (tmp_path / "page.pdf").exists() and not encoded.desk.busy)
    printed = QPdfDocument()
    assert printed.load(str(tmp_path / "page.pdf")) == QPdfDocument.Error.None_
    words = "".join(printed.getAllText(page).text() for page in range(printed.pageCount()))
    assert f"Concept {concept} a <name>" in words
    assert session.models.sae_info.name in words
    # Of selected cells, the FDR that the table shows.
    session.focus.select_cells(session.encoded.cell_ids[:3].tolist())
    session.focus.set_scope("cells")
    panel.tools.chosen.emit("passport", str(tmp_path / "three"))
    until(lambda: (tmp_path / "three.html").exists())
    text = (tmp_path / "three.html").read_text(encoding="utf-8")
    assert "<td>fdr of 3 selected cells</td>" in text


def test_a_file_that_is_written_is_not_replaced(
    encoded, panel, until, tmp_path, monkeypatch
):
    heard = []
    monkeypatch.setattr(notifications, "show_warning", heard.append)
    encoded.session.focus.select_concept(panel.model.concept_at(0))
    panel.tools.chosen.emit("passport", str(tmp_path / "first.pdf"))
    panel.tools.chosen.emit("passport", str(tmp_path / "second.html"))
    panel.tools.chosen.emit("stability", "")
    until(lambda: not encoded.desk.busy)
    assert (tmp_path / "first.pdf").exists()
    assert not (tmp_path / "second.html").exists()
    assert len(heard) == 2
    assert all(text.startswith("Writing the passport is still going on") for text in heard)


def test_the_top_of_every_ranking_is_located(encoded, panel, until, monkeypatch):
    session, column = encoded.session, KEYS.index("where")
    monkeypatch.setattr(_concept_tasks, "LOCATED", 6)

    def places():
        return [panel.model.index(row, column).data() for row in range(6)]

    session.set_encoded(session.encoded, session.crops, 25.0)  # nothing is located yet
    until(lambda: panel.model.rowCount() > 6 and all(places()))
    known = panel.model.count - panel.model.not_located
    session.focus.select_cells((int(session.encoded.cell_ids[-1]),))
    session.focus.set_scope("cells")
    until(lambda: all(places()))
    assert known >= 6
    panel._keep.setCurrentIndex(panel._keep.findData("background"))
    panel._keep.activated.emit(panel._keep.currentIndex())
    # And so is all that follows, while nothing else is to be done.
    until(lambda: panel.model.not_located == 0)
    assert "not located" not in panel.search.count.text()


def test_every_tool_is_explained_and_does_something(encoded, panel):
    controller = next(c for c in encoded._controllers if hasattr(c, "_tools"))
    tools = {key for key, tool in TOOLS.items() if tool is not None}
    assert tools == set(controller._tools)
    assert all(tool.meaning for tool in TOOLS.values() if tool is not None)
    encoded.desk.busy_changed.emit(True)
    enabled = {key for key, action in panel.tools._actions.items() if action.isEnabled()}
    assert enabled == tools - set(LONG)
    encoded.desk.busy_changed.emit(False)
    assert all(action.isEnabled() for action in panel.tools._actions.values())


def test_the_views_below_the_table_share_one_height(qtbot):
    tabs = LowerTabs()
    qtbot.addWidget(tabs)
    tabs.resize(340, tabs.height())
    heights = set()
    for index in range(tabs.count()):
        tabs.setCurrentIndex(index)
        heights.add(tabs.height())
        assert tabs.minimumSizeHint().width() <= 340
    assert len(heights) == 1
    assert heights.pop() < 190


def test_settings_are_there_again_and_rubbish_is_left_out(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path))

    def opened():
        panel = ConceptsPanel()
        qtbot.addWidget(panel)
        panel.settings = PanelSettings(panel)
        return panel

    panel = opened()
    assert panel.table.shown_columns() == []
    assert panel.below.draws
    next(a for a in panel.table.columns_menu().actions() if a.text() == "Tags").trigger()
    panel.tools.set_extras(["report", "geojson"])
    panel.below.set_draws(False)
    keep = panel._keep
    keep.activated.emit(keep.findData("stars"))
    panel.settings._store.sync()
    again = opened()
    assert again.model.keep == again._keep.currentData() == "stars"
    assert again.table.shown_columns() == ["tags"]
    assert again.tools.extras == ["geojson", "report"]
    assert not again.below.draws
    (tmp_path / "settings.ini").write_text("[General]\nextras=virus report\ncolumns=@@@")
    assert opened().tools.extras == ["report"]


def test_kinds_and_hidden_cells_are_those_of_the_last_dock(dock, qtbot):
    def opened():
        session, panel = Session(), CellsPanel()
        qtbot.addWidget(panel)
        return session, panel, CellsSettings(session, panel)

    session, _, kept = opened()
    assert (session.settings, session.hide_flagged) == (CellSettings(), False)
    # What is clicked, not what an image was segmented with.
    dock.session.set_settings(CellSettings(kinds=("platelet",)))
    dock.cells_panel.set_settings(CellSettings())
    dock.cells_panel._kinds["rbc"].click()
    dock.session.set_hide_flagged(True)
    dock._settings[1]._store.sync()
    kept._store.sync()
    session, _, _ = opened()
    assert session.settings == CellSettings(kinds=("wbc", "rbc"))
    assert session.hide_flagged


def test_a_session_is_opened_as_it_was_saved(
    encoded, panel, viewer, small_models, until, tmp_path
):
    session = encoded.session
    concept = panel.model.concept_at(1)
    session.overlays.show(concept, 2)
    session.overlays.restyle(concept, Look(opacity=0.4, smooth=True))
    session.focus.select_concept(concept)
    session.focus.select_cells((int(session.encoded.cell_ids[2]),), (3, 5))
    session.review.judge(concept, [1], "accept")
    session.naming.rename(concept, "kept name")
    before = (
        session.encoded,
        session.cells,
        session.focus.selection,
        session.overlays.slots,
    )
    session.type_pixel_size(0.11)
    panel.set_table_view(TableView("prevalence", False, "always", "1"))
    rows = panel.model.rowCount()
    listed = [panel.model.concept_at(row) for row in range(rows)]
    table = panel.table_view()
    assert table == TableView("prevalence", False, "always", "1")
    assert rows > 1
    folder = tmp_path / "saved"
    panel.tools.chosen.emit("save", str(folder))
    until(lambda: (folder / "names.json").exists() and not encoded.desk.busy)
    assert {path.suffix for path in folder.rglob("*.*")} == {
        *(".json", ".tif", ".csv", ".npz")
    }
    identity = session.image.sha256, session.image.name, session.image.pixel_size
    assert session.image.pixel_size == PixelSize(0.11, "user")

    # In a dock that knows nothing of it.
    session.naming.undo()
    viewer.layers.clear()
    until(lambda: session.image is None)
    session.choose(ModelChoice())
    session._images._elsewhere.clear()
    session._images.typed_sizes.clear()
    panel.set_table_view(TableView("here", True, "all"))
    panel.tools.chosen.emit("open", str(folder))
    until(lambda: bool(session.encoded is not None and session.review.here()), 60_000)
    encoded_before, cells, selection, overlays = before
    for name in ("n_patches", "max", "mean", "cls"):
        then, now = (
            getattr(e.activations, name) for e in (encoded_before, session.encoded)
        )
        assert abs(then - now).max() == 0
    np.testing.assert_array_equal(session.encoded.tokens, encoded_before.tokens)
    np.testing.assert_array_equal(session.cells.labels, cells.labels)
    pd.testing.assert_frame_equal(session.cells.table, cells.table, check_dtype=False)
    assert session.focus.selection == selection
    assert session.overlays.slots == overlays
    assert panel.table_view() == table
    until(lambda: panel.model.rowCount() == rows)
    assert [panel.model.concept_at(row) for row in range(rows)] == listed
    outlines, overlay = encoded.layers.outlines, encoded.layers.overlays
    until(lambda: None not in (outlines.layer(), overlay.layer(2)))
    order = [viewer.layers.index(la) for la in (outlines.layer(), overlay.layer(2))]
    assert order == sorted(order)  # the overlay lies over the outlines
    assert session.review.here() == [(concept, 1, "accept")]
    assert session.naming.name_of(concept) == "kept name"
    assert session.choice == small_models
    # The same image, not one of the same pixels.
    assert (session.image.sha256, session.image.name, session.image.pixel_size) == identity
    assert encoded.layers.source.name == "smear"
    encoded.cells_panel.pixel_size_edited.emit(0.0)
    until(lambda: session.image is not None and session.image.pixel_size.source == "layer")
    for one, other in zip(session.crops.images, encoded_before.boxes, strict=True):
        y0, x0, y1, x1 = other
        assert one.shape == (y1 - y0, x1 - x0, 3)


@pytest.fixture
def looked_at(encoded, panel, viewer, tmp_path, until):
    """A session saved in ``s`` while much was changed, and what that was."""
    session, concept = encoded.session, panel.model.concept_at(1)
    write_catalogue(tmp_path / "cat", session.models.sae_info.d_sae, concept)
    panel.tools.chosen.emit("catalogue", str(tmp_path / "cat"))
    until(lambda: bool(session.exploration.catalogues))
    columns = ["shift", "rotation", "stain", "stability"]
    stability = pd.DataFrame([[0.9, 0.8, 0.7, 0.25]], [concept], columns)
    stability = stability.rename_axis("concept")
    session.exploration.set_stability(stability)
    session.focus.select_concept(concept)
    panel.below.setCurrentWidget(panel.below.notes)
    until(lambda: panel.below._sources.findData("catalogue") > 0)
    choose_source(panel, "catalogue")
    viewer.layers["smear.png"].opacity = 0.6
    viewer.layers["smear.png"].interpolation2d = "linear"
    until(lambda: encoded.layers.outlines.layer() is not None)
    encoded.layers.outlines.layer().opacity = 0.35
    encoded.layers.outlines.layer().contour = 3
    camera = viewer.scene.camera
    camera.center, camera.zoom = (12.5, 20.25), 33.0
    encoded.go_to_step("cells")
    panel.tools.chosen.emit("save", str(tmp_path / "s"))
    until(lambda: "Saved 1 image in" in encoded.strip.text and not encoded.desk.busy)
    # As a new dock would find it.
    encoded.go_to_step("models")
    panel.below.setCurrentIndex(0)
    choose_source(panel, "image")
    viewer.layers.clear()
    until(lambda: session.image is None)
    session.choose(ModelChoice())
    session._images._elsewhere.clear()
    assert not session.exploration.catalogues
    camera.center, camera.zoom = (1.0, 2.0), 5.0
    return concept, stability


def test_a_session_is_looked_at_as_it_was(
    encoded, panel, viewer, looked_at, until, tmp_path
):
    (concept, stability), session = looked_at, encoded.session
    panel.tools.chosen.emit("open", str(tmp_path / "s"))
    until(lambda: session.encoded is not None and not encoded.desk.busy, 60_000)
    pd.testing.assert_frame_equal(session.exploration.stability, stability)
    classes = session.exploration.classes
    assert classes["text"].iloc[concept] == "basophil (MLL23 10/10)"
    assert encoded.step == "cells"
    assert panel.below.currentWidget() is panel.below.notes
    assert panel.below.source == "catalogue"
    source = encoded.layers.source
    assert (source.opacity, source.interpolation2d) == (0.6, "linear")
    camera = viewer.scene.camera
    np.testing.assert_allclose(camera.center[-2:], (12.5, 20.25))
    assert camera.zoom == pytest.approx(33.0)
    until(lambda: encoded.layers.outlines.layer() is not None)
    outlines = encoded.layers.outlines.layer()
    assert (outlines.opacity, outlines.contour) == (0.35, 3)
    until(lambda: "U" in flags_of(panel, concept))


def flags_of(panel, concept):
    row = panel.model.row_of(concept)
    return "" if row is None else panel.model.index(row, KEYS.index("flags")).data()


def test_a_catalogue_that_is_gone_is_said_when_a_session_is_opened(
    encoded, panel, looked_at, until, tmp_path
):
    (tmp_path / "cat").rename(tmp_path / "moved")
    panel.tools.chosen.emit("open", str(tmp_path / "s"))
    # Said at once, and again after what is said of the image once that is read.
    until(lambda: encoded.session.encoded is not None, 60_000)
    until(lambda: "Its catalogue is not here" in encoded.strip.text)
    assert str(tmp_path / "cat") in encoded.strip.text
    assert not encoded.session.exploration.catalogues


def test_all_open_images_are_saved_and_come_back(encoded, panel, viewer, until, tmp_path):
    session = encoded.session
    first, first_name = session.image.sha256, session.image.name
    concept = panel.model.concept_at(1)
    session.review.judge(concept, [2], "reject")
    layer = viewer.add_image(viewer.layers["smear.png"].data[::-1].copy(), name="flipped")
    encoded.image.look_at(layer)
    until(lambda: session.image is not None and session.image.sha256 != first)
    session.type_pixel_size(0.1)
    encoded.cells_panel.segment_clicked.emit()
    until(lambda: session.cells is not None and not encoded.desk.busy)
    encoded.cells_panel.encode_clicked.emit()
    until(lambda: session.encoded is not None and not encoded.desk.busy)
    ids = session.encoded.cell_ids.tolist()
    session.review.judge(concept, [ids[0]], "accept")
    session.focus.select_cells(ids[1:3])
    session.focus.set_scope("like")
    session.overlays.show(concept)
    then = session.found_images()
    assert len(then) == 2
    viewer.layers["smear.png"].visible = False
    assert [la.name for la in encoded.layers.images()] == ["smear.png", "flipped"]
    panel.tools.chosen.emit("save", str(tmp_path / "s"))
    until(lambda: (tmp_path / "s" / "names.json").exists() and not encoded.desk.busy)
    assert "Saved 2 images" in encoded.strip.text
    # As a new dock would find it: no image, other models, nothing known.
    viewer.layers.clear()
    until(lambda: session.image is None)
    session.choose(ModelChoice())
    session._images._elsewhere.clear()
    session._images.typed_sizes.clear()
    panel.tools.chosen.emit("open", str(tmp_path / "s"))
    until(lambda: session.encoded is not None and session.focus.scope == "like", 60_000)
    now = session.found_images()
    assert list(now) == list(then)
    for one, other in zip(now.values(), then.values(), strict=True):
        assert (one.settings, one.pixel_size) == (other.settings, other.pixel_size)
        assert one.verdicts == other.verdicts
        assert one.image.pixel_size == other.image.pixel_size
        np.testing.assert_array_equal(one.cells.labels, other.cells.labels)
        np.testing.assert_array_equal(one.encoded.tokens, other.encoded.tokens)
        assert abs(one.encoded.activations.max - other.encoded.activations.max).max() == 0
    assert session.focus.examples == tuple((next(iter(then)), i) for i in ids[1:3])
    assert session.overlays.slot_of(concept) == 0
    # One over the other as they lay, and as hidden as they were.
    assert [la.name for la in encoded.layers.images()] == ["smear", "flipped"]
    assert [la.visible for la in encoded.layers.images()] == [False, True]
    assert encoded.layers.preferred_image() == encoded.layers.source
    assert encoded.layers.source.name == "flipped"
    # The other image is a click in the gallery away, with all that was found on it.
    panel.below._sources.setCurrentIndex(panel.below._sources.findData("all"))
    session.focus.set_scope("image")
    encoded.image.look_at_image(first)
    until(lambda: session.image is not None and session.image.sha256 == first)
    assert session.review.here() == [(concept, 2, "reject")]
    assert session.encoded is not None
    # Once more in a dock that looks at the other image: nothing is opened twice.
    panel.tools.chosen.emit("open", str(tmp_path / "s"))
    until(lambda: session.focus.scope == "like", 60_000)
    assert [la.name for la in encoded.layers.images()] == ["smear", "flipped"]
    # An image that is closed takes its pixels along, and is in no session.
    viewer.layers.remove(encoded.layers.images()[0])
    panel.tools.chosen.emit("save", str(tmp_path / "t"))
    until(lambda: "Saved 1 image (" in encoded.strip.text)
    assert f"({first_name}: not open any more, open it and save" in encoded.strip.text


@pytest.mark.parametrize("role", ["sae", "backbone"])
def test_another_model_is_said_and_its_activations_not_taken(
    encoded, panel, until, tmp_path, role
):
    session = encoded.session
    panel.tools.chosen.emit("save", str(tmp_path / "s"))
    until(lambda: (tmp_path / "s" / "names.json").exists() and not encoded.desk.busy)
    about = json.loads((tmp_path / "s" / "session.json").read_text())
    about[f"{role}_sha256"] = "f" * 64
    (tmp_path / "s" / "session.json").write_text(json.dumps(about))
    panel.tools.chosen.emit("open", str(tmp_path / "s"))
    until(lambda: "has changed since" in encoded.strip.text)
    assert session.encoded is None
    assert len(session.cells) == 5
    # What was looked at is damaged.
    view = about["view"]
    for damaged in (
        {key: value for key, value in view.items() if key != "choice"},
        view | {"choice": {"moon": 1}},
        view | {"selection": None},
        view | {"scope": "moon"},
        view | {"table": {"column": 1}},
    ):
        (tmp_path / "s" / "session.json").write_text(json.dumps(about | {"view": damaged}))
        encoded.desk.say("")
        panel.tools.chosen.emit("open", str(tmp_path / "s"))
        until(lambda: "is damaged" in encoded.strip.text)
    # Folders that are none, or hold other things, are refused in one sentence.
    panel.tools.chosen.emit("open", str(tmp_path))
    until(lambda: "holds no session" in encoded.strip.text)
    panel.tools.chosen.emit("save", str(tmp_path))
    until(lambda: "holds other files" in encoded.strip.text)


def test_a_session_is_not_laid_over_an_image_that_was_gone_to_meanwhile(
    encoded, panel, viewer, until, tmp_path
):
    session = encoded.session
    session.focus.select_cells(session.encoded.cell_ids[:1].tolist())
    first, saved = viewer.layers["smear.png"], session.image
    panel.tools.chosen.emit("save", str(tmp_path / "s"))
    until(lambda: (tmp_path / "s" / "names.json").exists() and not encoded.desk.busy)
    other = viewer.add_image(first.data[::-1].copy(), name="flipped")
    encoded.image.look_at(other)
    until(lambda: session.image is not None and session.image.name == "flipped")
    folder = str(tmp_path / "s")
    opened = run(_session_tasks.open_session(tmp_path / "s"))
    controller = next(c for c in encoded._controllers if hasattr(c, "_restore_on"))
    controller._restore_on(opened)
    assert session.image is None  # it is being read
    encoded.image.look_at(other)
    until(lambda: session.image is not None and session.image.name == "flipped")
    until(lambda: f"{saved.name} was left before it was read" in encoded.strip.text)
    # Nothing waits for it any more.
    session.choose(ModelChoice())
    session.focus.select_cells(())
    encoded.image.look_at(first)
    until(lambda: session.image is not None and session.image.sha256 == saved.sha256)
    assert session.encoded is None
    assert session.focus.selection.cell_ids == ()
    panel.tools.chosen.emit("open", folder)
    until(lambda: session.encoded is not None, 60_000)
    assert len(session.focus.selection.cell_ids) == 1


def on_screen(atlas, number):
    points = atlas._points
    place = np.log10((points.density[number], points.strength[number]))
    at = atlas._box.mapViewToScene(QPointF(*place))
    return atlas._plot.mapFromScene(at)


def test_the_atlas_shows_all_concepts_and_lists_those_drawn_around(encoded, panel, until):
    session = encoded.session
    until(lambda: bool(flagged(panel)))
    panel.tools.chosen.emit("atlas", "")
    controller = next(c for c in encoded._controllers if hasattr(c, "_tools"))
    atlas = controller._windows.atlas
    until(lambda: atlas._points is not None)
    points = atlas._points
    mean = session.encoded.activations.mean_with_cls.toarray()
    fires = np.flatnonzero(mean.any(axis=0))
    np.testing.assert_array_equal(points.concepts, fires)
    np.testing.assert_allclose(points.density, (mean[:, fires] > 0).mean(axis=0))
    strength = [column[column > 0].mean() for column in mean[:, fires].T]
    np.testing.assert_allclose(points.strength, strength, rtol=1e-5)
    until(lambda: atlas.isVisible())
    for number in (0, len(fires) - 1):
        at = on_screen(atlas, number)
        colour = atlas._plot.grab().toImage().pixelColor(at)
        assert colour.getRgb()[:3] == tuple(atlas.dots.colours[number])
    flags = flagged(panel)
    for concept, place in zip(points.concepts, points.flagged, strict=True):
        said = flags.get(int(concept), "").partition(";")[0]
        assert place == (1 + FLAGS.index(said) if said else 0)
    # Draw around the stronger half.
    middle = float(np.median(np.log10(points.strength)))
    atlas._box.enclosed.emit(np.array([[-9, middle], [9, middle], [9, 9], [-9, 9]]))
    stronger = set(fires[np.log10(points.strength) >= middle])
    shown = {panel.model.concept_at(row) for row in range(panel.model.rowCount())}
    assert shown
    assert shown <= stronger
    assert not panel.search.all.isHidden()
    panel.search.all.click()
    assert panel.model.rowCount() > len(shown)
    atlas.resize(700, 500)
    number = int(np.argmax(points.strength))
    left = Qt.MouseButton.LeftButton
    QTest.mouseClick(atlas._plot.viewport(), left, pos=on_screen(atlas, number))
    until(lambda: session.focus.selection.concept == fires[number])


def test_groups_are_drawn_against_concepts_and_lead_to_cells(encoded, panel, until):
    from dataclasses import replace

    from napari_cytosae.core.groups import compare_groups

    session = encoded.session
    controller = next(c for c in encoded._controllers if hasattr(c, "_tools"))
    panel.tools.chosen.emit("groups", "")
    heatmap = controller._windows.heatmap
    until(lambda: "only one group" in heatmap._about.text())
    assert heatmap._plot.isHidden()
    kinds = ["wbc", "rbc", "wbc", "rbc", "rbc"]
    table = session.cells.table.assign(kind=kinds)
    cells = replace(session.cells, table=table)
    session.keep("a" * 64, Found(cells, crops=session.crops, encoded=session.encoded))
    heatmap.grouping_chosen.emit("kind")
    mean = session.encoded.activations.mean
    until(lambda: bool(heatmap.shown()))
    assert not heatmap._plot.isHidden()
    twice = sparse.csr_array(sparse.vstack([mean, mean]))
    expected = compare_groups(twice, ["wbc"] * 5 + kinds)
    shown = heatmap._groups
    assert shown.counts.tolist() == [3, 7]
    order = np.argsort(shown.concepts)
    again = np.argsort(expected.concepts)
    np.testing.assert_array_equal(shown.concepts[order], expected.concepts[again])
    np.testing.assert_allclose(shown.means[:, order], expected.means[:, again], rtol=1e-6)
    heatmap._sort.setCurrentIndex(1)
    heatmap._sort.activated.emit(1)
    assert heatmap.shown() == sorted(heatmap.shown())
    heatmap._sort.setCurrentIndex(2)
    heatmap._sort.activated.emit(2)
    first = list(shown.concepts).index(heatmap.shown()[0])
    assert shown.means[0, first] >= shown.means[1, first]
    heatmap.concept_clicked.emit(heatmap.shown()[0])
    assert session.focus.selection.concept == heatmap.shown()[0]
    until(lambda: "drive" in panel.below._caption.text())


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("window", [LatentAtlas, GroupHeatmap])
def test_plots_have_the_colours_of_napari(dock, viewer, theme, window):
    viewer.theme = theme
    opened = window(parent=dock)
    wanted = get_theme(theme)
    assert opened._plot.backgroundBrush().color().name() == wanted.background.as_hex()
    assert opened._plot.getAxis("left").textPen().color().name() == wanted.text.as_hex()
    opened.close()

"""The panels: each shows what it is told and says what was clicked."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QLocale, Qt
from qtpy.QtWidgets import QApplication, QLabel

from napari_cytosae.core.types import PixelSize, Progress
from napari_cytosae.session_values import CellSettings, Overlay
from napari_cytosae.widgets._concept_columns import NAME, OPTIONAL
from napari_cytosae.widgets._concept_rows import ConceptRows
from napari_cytosae.widgets._step_area import StepArea
from napari_cytosae.widgets._thumbnails import Thumbnail
from napari_cytosae.widgets.cells_panel import CellsPanel, describe_pixel_size
from napari_cytosae.widgets.concept_model import ConceptTableModel, number
from napari_cytosae.widgets.concept_table import ConceptTable
from napari_cytosae.widgets.concepts_panel import ConceptsPanel
from napari_cytosae.widgets.gallery import THUMBNAIL_PX, Gallery
from napari_cytosae.widgets.models_panel import ModelSet, ModelsPanel
from napari_cytosae.widgets.overlay_controls import OverlayControls
from napari_cytosae.widgets.status_strip import StatusStrip, describe_progress

N = 49_152


@pytest.fixture
def make(qtbot):
    def show(widget):
        qtbot.addWidget(widget)
        return widget

    return show


@pytest.fixture
def no_double_clicks():
    """Clicks in a row are just that."""
    before = QApplication.doubleClickInterval()
    QApplication.setDoubleClickInterval(0)
    yield
    QApplication.setDoubleClickInterval(before)


def ranking(n=N):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "concept": rng.permutation(n),
            "name": [f"name {i}" if i % 100 == 0 else "" for i in range(n)],
            "here": rng.random(n),
            "prevalence": rng.random(n),
            "where": rng.choice(["nucleus 82%", "outside 90%", ""], n),
            "flags": rng.choice(["", "always-on", "background"], n),
            "specificity": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        }
    )


@pytest.fixture
def model(make):
    model = ConceptTableModel()
    model.set_rows(ConceptRows.of(ranking()))
    return model


def column(model, index, n=5):
    return [model.index(row, index).data() for row in range(n)]


# --- the table --------------------------------------------------------------------------


def test_all_concepts_are_sorted_and_searched_at_once(model):
    rows = ConceptRows.of(ranking())
    for action in (
        lambda: model.sort(4, Qt.SortOrder.AscendingOrder),
        lambda: model.sort(2, Qt.SortOrder.AscendingOrder),
        lambda: model.set_search("name 4"),
        lambda: model.set_search(""),
        lambda: model.set_rows(rows),
    ):
        began = time.thread_time()
        action()
        assert time.thread_time() - began < 0.1
    assert model.rowCount() == N


def test_sorting_is_right_and_unknown_comes_last(model):
    table = ranking()
    model.sort(3, Qt.SortOrder.DescendingOrder)
    best = table.sort_values("here", ascending=False)["concept"].head(5)
    assert column(model, 1) == [str(c) for c in best]
    model.sort(5, Qt.SortOrder.DescendingOrder)
    best = table.sort_values("specificity", ascending=False)["concept"].head(5)
    assert column(model, 1) == [str(c) for c in best]
    assert model.index(model.rowCount() - 1, 5).data() == ""
    for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        model.sort(2, order)
        assert all(column(model, 2))


def test_search_takes_the_start_of_a_number_and_any_part_of_a_name(model):
    model.set_search("4711")
    assert set(column(model, 1, model.rowCount())) == {
        "4711",
        *map(str, range(47110, 47120)),
    }
    model.set_search("NAME 42")
    names = column(model, 2, model.rowCount())
    assert names
    assert all("name 42" in name for name in names)


def test_ticks_and_names_are_announced_and_not_taken(model):
    ticks, names = [], []
    model.show_toggled.connect(lambda *tick: ticks.append(tick))
    model.renamed.connect(lambda *name: names.append(name))
    concept = model.concept_at(3)
    model.setData(model.index(3, 0), Qt.CheckState.Checked, Qt.ItemDataRole.CheckStateRole)
    model.setData(model.index(3, 2), " granules ")
    assert (ticks, names) == ([(concept, True)], [(concept, "granules")])
    state = model.index(3, 0).data(Qt.ItemDataRole.CheckStateRole)
    assert Qt.CheckState(state) == Qt.CheckState.Unchecked
    model.set_colours({concept: "cyan"})
    state = model.index(3, 0).data(Qt.ItemDataRole.CheckStateRole)
    assert Qt.CheckState(state) == Qt.CheckState.Checked


def test_a_click_anywhere_on_the_square_shows_the_concept(
    make, model, qtbot, no_double_clicks
):
    table = make(ConceptTable(model))
    table.resize(360, 300)
    ticks = []
    model.show_toggled.connect(lambda *tick: ticks.append(tick))
    for row, shown in ((0, False), (2, True)):
        concept = model.concept_at(row)
        model.set_colours({concept: "cyan"} if shown else {})
        for place in ("topLeft", "center", "bottomRight"):
            square = table.visualRect(model.index(row, 0)).adjusted(2, 2, -2, -2)
            point = getattr(square, place)()
            qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=point)
            assert ticks.pop() == (concept, not shown)


def test_the_selected_concept_stays_selected(make, model):
    table = make(ConceptTable(model))
    heard = []
    table.concept_selected.connect(heard.append)
    table.selectRow(2)
    concept = model.concept_at(2)
    assert heard == [concept]
    model.sort(4, Qt.SortOrder.AscendingOrder)
    (row,) = table.selectionModel().selectedRows()
    assert model.concept_at(row.row()) == concept
    model.set_search("no such thing")
    assert not table.selectionModel().selectedRows()
    model.set_search("")
    (row,) = table.selectionModel().selectedRows()
    assert model.concept_at(row.row()) == concept
    assert heard == [concept]


def test_a_name_keeps_its_room_beside_all_columns(make, model):
    table = make(ConceptTable(model))
    table.resize(340, 300)
    table.show()
    letters = table.fontMetrics().horizontalAdvance("eosinophilic")

    def widths():
        QApplication.processEvents()
        columns = range(model.columnCount())
        return [table.columnWidth(i) for i in columns if not table.isColumnHidden(i)]

    assert sum(widths()) == table.viewport().width()
    assert table.columnWidth(NAME) > letters
    table.show_columns(OPTIONAL)
    assert table.columnWidth(NAME) > letters
    bar = table.horizontalScrollBar()
    assert sum(widths()) > table.viewport().width()
    assert bar.maximum() == sum(widths()) - table.viewport().width()
    # There is room for all of them.
    table.resize(1200, 300)
    assert sum(widths()) == table.viewport().width()
    table.horizontalHeader().resizeSection(NAME + 1, 90)
    assert sum(widths()) == table.viewport().width()
    table.resize(340, 300)
    table.show_columns(())
    table.horizontalHeader().resizeSection(NAME + 1, 40)
    assert sum(widths()) == table.viewport().width()


def test_filters_leave_out_what_they_say_and_nothing_by_default(model):
    flags = ranking()["flags"]
    assert model.rowCount() == N
    model.set_keep("background")
    assert model.rowCount() == (flags != "background").sum()
    model.set_keep("both")
    assert model.rowCount() == (flags == "").sum()
    assert "nuc 82" in column(model, 6, 50)


@pytest.mark.parametrize(
    ("value", "text"),
    [(np.nan, ""), (0, "0.00"), (3.14159, "3.14"), (-0.0004, "-4e-4"), (250.4, "250")],
)
def test_numbers(value, text):
    assert number(value) == text


# --- the gallery --------------------------------------------------------------------------


def test_the_gallery_selects_both_ways_without_echo(make):
    gallery = make(Gallery())
    heard, visited = [], []
    gallery.cells_selected.connect(heard.append)
    gallery.cell_activated.connect(visited.append)
    crop = np.zeros((30, 50, 3), np.uint8)
    gallery.set_cells([Thumbnail(i, crop, str(i)) for i in range(10, 5010)], (12, 13))
    assert sorted(i.row() for i in gallery.selectedIndexes()) == [2, 3]
    assert (heard, visited) == ([], [])
    gallery.setCurrentIndex(gallery.model().index(5))
    assert (heard, visited) == ([(15,)], [15])
    gallery.set_selected(())
    assert gallery.selectedIndexes() == []
    assert heard == [(15,)]
    assert len(gallery._model._icons) < 200


def test_a_selected_cell_keeps_its_colours_and_gets_a_frame(make):
    gallery = make(Gallery())
    crop = np.full((40, 40, 3), (222, 170, 168), np.uint8)
    gallery.set_cells([Thumbnail(i, crop, "") for i in range(3)], (1,))
    gallery.resize(400, gallery.height())

    def drawn(row):
        place = gallery.visualRect(gallery.model().index(row))
        image = gallery.grab().toImage()
        middle = place.left() + place.width() // 2
        down = range(place.top(), place.top() + THUMBNAIL_PX // 2)
        return [image.pixelColor(middle, y).getRgb()[:3] for y in down]

    assert drawn(1)[-1] == drawn(0)[-1] == (222, 170, 168)
    assert {(40, 38, 46), (226, 223, 230)} <= set(drawn(1))
    assert (40, 38, 46) not in drawn(0)


# --- step 2 ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (PixelSize(0.086, "estimated", 0.06, 48), "estimated from 48 red cells, ±6 %"),
        (PixelSize(0.1, "metadata"), "from the image's metadata"),
        (PixelSize(0.1, "layer"), "from the layer's scale"),
        (PixelSize(0.1, "user"), "typed by you"),
        (PixelSize(), "Unknown"),
        (PixelSize(5.0, "metadata"), "Implausible"),
        (PixelSize(0.001, "layer"), "Implausible"),
    ],
)
def test_the_source_of_a_pixel_size_is_said(make, size, says):
    panel = make(CellsPanel())
    panel.set_pixel_size(size)
    assert says in panel._pixel_source.text()
    assert panel._pixel_source.font().bold() == ("Implausible" in says)


def test_typing_a_pixel_size_with_a_german_comma(make, qtbot):
    panel = make(CellsPanel())
    panel._pixel.setLocale(QLocale("de_DE"))
    panel.set_pixel_size(PixelSize(0.1, "layer"))
    assert panel._pixel.text() == "0,1000 µm"
    with qtbot.waitSignal(panel.pixel_size_edited) as heard:
        panel._pixel.lineEdit().setText("0,25")
        panel._pixel.interpretText()
    assert heard.args == [0.25]


def test_setting_says_nothing_and_clicking_does(make):
    panel = make(CellsPanel())
    heard = []
    panel.settings_changed.connect(heard.append)
    panel.set_settings(CellSettings("single_cell", ("wbc", "rbc"), 30.0))
    assert heard == []
    panel._ways["smear"].click()
    assert heard[-1] == CellSettings("smear", ("wbc", "rbc"), 30.0)
    panel._kinds["platelet"].setEnabled(True)
    panel._kinds["platelet"].click()
    assert heard[-1].kinds == ("wbc", "rbc", "platelet")


def test_long_names_and_many_cells_fit_into_360_px(make):
    long = "BloodImage_" * 20
    cells = make(CellsPanel())
    cells.set_images([long], 0)
    cells.set_labels([long], 0)
    cells.set_pixel_size(PixelSize())
    cells.set_cells("5,000 WBC, 12,000 RBC", flagged=900, count=17_000)
    models = make(ModelsPanel())
    models.set_sets([ModelSet(long, long, long, True, "", long)], 0)
    concepts = make(ConceptsPanel())
    concepts.set_driving(long)
    concepts.overlay.set_concept(49_151, long, Overlay(49_151, "cyan"))
    strip = make(StatusStrip())
    strip.show_error(long * 4, "details")
    for panel in (cells, models, concepts, strip):
        assert panel.minimumSizeHint().width() <= 340, panel


# --- overlay controls and strip -----------------------------------------------------------


def test_overlay_controls_show_without_echo(make):
    controls = make(OverlayControls())
    heard = []
    for signal in (
        controls.opacity_changed,
        controls.threshold_changed,
        controls.smooth_toggled,
    ):
        signal.connect(heard.append)
    controls.set_concept(7, "granules", Overlay(7, "lime", True, 0.4, 0.25, True))
    assert heard == []
    assert controls._name.text() == "granules"
    controls._opacity.setValue(90)
    controls._threshold.setValue(10)
    controls._smooth.click()
    assert heard == [0.9, 0.1, False]
    controls.set_concept(7, "granules", None)
    assert not controls._opacity.isEnabled()
    assert controls._name.isEnabled()


def test_a_name_being_typed_is_not_overwritten(make, qtbot):
    controls = make(OverlayControls())
    controls.show()
    controls.set_concept(7, "old", None)
    controls._name.setFocus()
    controls._name.setModified(True)
    controls._name.hasFocus = lambda: True
    controls._name.setText("half a na")
    controls._name.setModified(True)
    controls.set_concept(7, "old", None)
    assert controls._name.text() == "half a na"


@pytest.mark.parametrize(
    ("progress", "left", "text"),
    [
        (Progress("Encoding", 14, 23), 5.2, "Encoding 14 of 23 cells, 5 s left"),
        (Progress("Loading the models", 0, 0), None, "Loading the models ..."),
        (
            Progress("Downloading", 3, 1646, "MB"),
            3905,
            "Downloading 3 of 1,646 MB, 1 h 5 min left",
        ),
        (Progress("Encoding", 1, 2), 130, "Encoding 1 of 2 cells, 2 min 10 s left"),
    ],
)
def test_progress_in_words(progress, left, text):
    assert describe_progress(progress, left) == text


def test_what_is_opened_in_step_1_is_scrolled_to(qtbot):
    panel = ModelsPanel()
    area = StepArea(panel)
    qtbot.addWidget(area)
    panel.section_opened.connect(area.bring_up)
    area.resize(360, 300)
    area.show()
    bar, part = area.verticalScrollBar(), panel._train
    qtbot.waitUntil(lambda: part.y() > 250 and bar.value() == 0)
    part.expand()
    qtbot.waitUntil(lambda: part.height() > 200 and bar.value() > 0)
    qtbot.waitUntil(lambda: 0 <= part.y() - bar.value() < 150)


def test_the_strip_never_moves(make, qtbot):
    strip = make(StatusStrip())
    height = strip.sizeHint().height()
    assert "Research use only. Not for diagnosis." in [
        label.text() for label in strip.findChildren(QLabel)
    ]
    strip.show_progress(Progress("Encoding", 14, 23), 5.0)
    assert strip.is_busy
    assert strip.sizeHint().height() == height
    with qtbot.waitSignal(strip.cancel_clicked):
        strip._cancel.click()
    strip.show_error("what happened " * 30, "Traceback")
    assert not strip.is_busy
    assert strip.sizeHint().height() == height
    assert strip._details == "Traceback"


def test_the_source_of_unknown_sizes_says_what_happens():
    assert "type the size" in describe_pixel_size(PixelSize())

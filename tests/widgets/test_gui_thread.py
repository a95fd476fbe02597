"""No work of ours blocks the GUI thread: 5,000 cells and 49,152 concepts, every control.

What counts is the processor time of this package's own functions on the GUI thread, with
numpy, pandas and Qt below them, from the outermost one until it returns. What napari does
with a layer once it has it (slicing, outlining, uploading) is napari's, and left out.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path

import napari
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import vispy
from qtpy.QtCore import QItemSelection, QItemSelectionModel, Qt

import napari_cytosae
from napari_cytosae.core import reading
from napari_cytosae.core.case import Case, CaseImage
from napari_cytosae.core.catalogue import Catalogue
from napari_cytosae.core.heads import Head, Part, Profiles
from napari_cytosae.core.pipeline import run
from napari_cytosae.core.reading import Reading
from napari_cytosae.core.types import (
    Cells,
    ConceptActivations,
    Crops,
    Encoded,
    PixelSize,
)
from napari_cytosae.patient_session import PatientImage
from napari_cytosae.session_values import CellSettings, ModelChoice
from napari_cytosae.widgets.patient_map import PatientMap

LIMIT_S = 0.05
CELLS, LATENTS, SIDE, PITCH = 5_000, 49_152, 1_500, 21
OURS = str(Path(napari_cytosae.__file__).parent)
THEIRS = tuple(str(Path(module.__file__).parent) for module in (napari, vispy))


class Shares:
    """Processor time of our outermost functions, without what napari does in them.

    Its profiler is called at every call and return, which only makes us look slower.
    """

    def __init__(self):
        self.spent: dict[str, float] = {}
        self._stack: list[bool | None] = []
        self._since = 0.0
        self._total = 0.0

    def __call__(self, frame, event, arg):
        now = time.thread_time()
        before = self._stack[-1] if self._stack else None
        if before:
            self._total += now - self._since
        if event == "call":
            name = frame.f_code.co_filename
            ours = before
            if name.startswith(OURS):
                ours = True
            elif before is not None and name.startswith(THEIRS):
                ours = False
            if ours is not None and before is None:
                self._total = 0.0
            self._stack.append(ours)
        elif event == "return" and self._stack:
            ours = self._stack.pop()
            if ours and not any(kind is not None for kind in self._stack):
                where = f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"
                self.spent[where] = max(self.spent.get(where, 0.0), self._total)
        self._since = time.thread_time()


@contextmanager
def shares():
    found = Shares()
    sys.setprofile(found)
    try:
        yield found
    finally:
        sys.setprofile(None)


@pytest.fixture(scope="module")
def wide_models(tmp_path_factory) -> ModelChoice:
    """A small ViT, and an SAE as wide as CytoSAE's."""
    from napari_cytosae.widgets._quiet import preload_torch

    preload_torch()
    import torch
    from timm.models.vision_transformer import VisionTransformer

    from napari_cytosae.core.checkpoints import save_backbone, save_sae

    folder = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=224, patch_size=14, embed_dim=64, depth=2, num_heads=1, num_classes=0
    )
    save_backbone(folder / "backbone.safetensors", vit.state_dict())
    decoder = torch.nn.functional.normalize(torch.randn(LATENTS, 64), dim=1)
    save_sae(
        folder / "sae.safetensors",
        {
            "W_enc": decoder.T.contiguous(),
            "b_enc": torch.full((LATENTS,), -0.5),
            "W_dec": decoder,
            "b_dec": torch.zeros(64),
        },
        kind="relu",
        layer=-2,
        names={i: f"name {i}" for i in range(0, LATENTS, 7)},
    )
    return ModelChoice(
        str(folder / "backbone.safetensors"), str(folder / "sae.safetensors"), "cpu"
    )


def many_cells() -> Cells:
    labels = np.zeros((SIDE, SIDE), np.int32)
    per_row = SIDE // PITCH
    ids = np.arange(CELLS)
    y, x = PITCH * (ids // per_row), PITCH * (ids % per_row)
    for dy in range(PITCH - 5):
        for dx in range(PITCH - 5):
            labels[y + dy, x + dx] = ids + 1
    table = pd.DataFrame(
        {
            "image": "smear.png",
            "cell_id": ids + 1,
            "kind": np.where(ids % 3, "rbc", "wbc"),
            "centroid_x": x + 8.0,
            "centroid_y": y + 8.0,
            "area_px": 256.0,
            "qc": np.where(ids % 10, "ok", "border"),
        }
    )
    return Cells(labels, np.zeros_like(labels), table, PixelSize(0.1, "metadata"))


def as_encoded(cells: Cells, sha256: str) -> tuple[Encoded, Crops]:
    rng = np.random.default_rng(0)
    n, each = len(cells), 40
    columns = rng.integers(0, LATENTS, (n, each))
    columns[:, 0] = 7

    def matrix(scale):
        values = (scale * rng.random((n, each))).astype(np.float32)
        rows = np.repeat(np.arange(n), each)
        return sp.csr_matrix((values.ravel(), (rows, columns.ravel())), (n, LATENTS))

    activations = ConceptActivations(*(matrix(s) for s in (10, 3, 1, 1, 1)), 0.2, sha256)
    centres = cells.table[["centroid_y", "centroid_x"]].to_numpy(int)
    boxes = np.hstack([centres - 10, centres + 10])
    ids = cells.table["cell_id"].to_numpy(np.int64)
    crop = np.full((20, 20, 3), 200, np.uint8)
    crops = Crops((crop,) * n, boxes, ids, 25.0, "metadata")
    tokens = np.zeros((n, 257, 64), np.float16)
    return Encoded(activations, tokens, None, boxes, ids, True), crops


def test_nothing_of_ours_blocks_the_gui_thread(dock, viewer, wide_models, until, qtbot):
    session, panel = dock.session, dock.concepts_panel
    viewer.window._qt_window.show()
    cells = many_cells()
    session.choose(wide_models)
    dock.models_panel.load_clicked.emit()
    until(lambda: session.models is not None)
    encoded, crops = as_encoded(cells, session.models.sae_info.sha256)
    gallery = panel.gallery.model()
    overlay = dock.layers.overlays

    with shares() as spent:
        viewer.add_image(np.full((SIDE, SIDE, 3), 220, np.uint8), name="smear.png")
        until(lambda: session.image is not None, 60_000)
        session.set_cells(cells, CellSettings())
        until(lambda: dock.layers.outlines.layer() is not None)
        dock.go_to_step("concepts")
        session.set_encoded(encoded, crops, 25.0)
        until(lambda: panel.model.rowCount() > 40_000 and gallery.rowCount() == CELLS)
        for column in range(1, panel.model.columnCount()):
            panel.table.sortByColumn(column, Qt.SortOrder.AscendingOrder)
            panel.table.sortByColumn(column, Qt.SortOrder.DescendingOrder)
        for text in ("4", "name 4", ""):
            panel.model.set_search(text)
        for keep in ("both", "all"):
            panel.model.set_keep(keep)
        session.focus.select_concept(7)
        until(lambda: "strongest" in gallery.index(0).data(Qt.ItemDataRole.ToolTipRole))
        for concept in (7, 14, 7):
            session.overlays.hide(concept)
            session.overlays.show(concept, 0)
            until(lambda c=concept: overlay.shown_concept(0) == c, 60_000)
        session.naming.rename(7, "granules")
        row = cells.table.iloc[1234]
        dock.layers.clicked.emit(row.centroid_y, row.centroid_x, False)
        dock.layers.clicked.emit(row.centroid_y, row.centroid_x, True)
        session.focus.set_scope("image")
        session.focus.select_cells(cells.table["cell_id"].head(20))
        first, last = gallery.index(0), gallery.index(499)
        panel.gallery.selectionModel().select(
            QItemSelection(first, last), QItemSelectionModel.SelectionFlag.ClearAndSelect
        )
        assert len(session.focus.selection.cell_ids) == 500
        session.focus.select_cells(())
        session.set_hide_flagged(True)
        until(lambda: len(session.rows()) == 4_500 and gallery.rowCount() == 4_500)
        session.set_cells(many_cells(), CellSettings())
        qtbot.wait(500)
    assert spent.spent
    worst = sorted(spent.spent.items(), key=lambda item: -item[1])[:5]
    assert worst[0][1] < LIMIT_S, worst


def test_no_window_of_the_explorer_blocks_the_gui_thread(
    dock, viewer, wide_models, until, qtbot
):
    session, panel = dock.session, dock.concepts_panel
    viewer.window._qt_window.show()
    cells = many_cells()
    session.choose(wide_models)
    dock.models_panel.load_clicked.emit()
    until(lambda: session.models is not None)
    encoded, crops = as_encoded(cells, session.models.sae_info.sha256)
    viewer.add_image(np.full((SIDE, SIDE, 3), 220, np.uint8), name="smear.png")
    until(lambda: session.image is not None, 60_000)
    session.set_cells(cells, CellSettings())
    session.set_encoded(encoded, crops, 25.0)
    until(lambda: panel.model.rowCount() > 40_000)
    tools = next(c for c in dock._controllers if hasattr(c, "_tools"))
    windows = tools._windows
    # That pyqtgraph takes its time to be loaded and to set up a plot is not measured.
    for key in ("atlas", "groups"):
        panel.tools.chosen.emit(key, "")
    until(lambda: windows.atlas._points is not None and bool(windows.heatmap.shown()))
    windows.close()
    rng = np.random.default_rng(0)
    size = (LATENTS, 10)
    catalogue = Catalogue(
        rng.random(size, np.float32),
        rng.integers(0, 9, size),
        rng.integers(0, 3, size),
        rng.random(LATENTS, np.float32),
        rng.random(LATENTS, np.float32),
        rng.random(LATENTS, np.float32),
        ("a", "b", "c"),
    )
    ratings = {r: dict.fromkeys(range(i, 50 + i), r) for i, r in enumerate("abc")}
    for rater, labels in ratings.items():
        session.naming.names.rate(rater, labels)

    with shares() as spent:
        panel.tools.chosen.emit("atlas", "")
        until(lambda: windows.atlas.isVisible())
        windows.atlas._box.enclosed.emit(np.array([[-9, -9], [9, -9], [9, 9], [-9, 9]]))
        qtbot.wait(500)
        panel.search.pick(None)
        windows.atlas._by.setCurrentIndex(1)
        windows.atlas._by.activated.emit(1)
        session.exploration.set_catalogues({"data": catalogue}, None)
        panel.tools.chosen.emit("atlas", "")
        until(lambda: windows.atlas._points.title == "data")
        qtbot.wait(500)
        panel.tools.chosen.emit("groups", "")
        until(lambda: windows.heatmap.isVisible())
        for grouping in ("image", "kind"):
            windows.heatmap.grouping_chosen.emit(grouping)
            qtbot.wait(500)
        for index in (1, 2, 0):
            windows.heatmap._sort.setCurrentIndex(index)
            windows.heatmap._sort.activated.emit(index)
        windows.heatmap.concept_clicked.emit(windows.heatmap.shown()[0])
        qtbot.wait(500)
        panel.tools.chosen.emit("rate", "")
        dialog = tools._rating.dialog
        dialog.rater.setText("d")
        dialog.start.click()
        for _ in range(3):
            until(lambda: dialog.gallery.model().rowCount() > 0)
            dialog.unclear.click()
        panel.tools.chosen.emit("agreement", "")
        until(lambda: tools._rating.window.isVisible(), 60_000)
    worst = sorted(spent.spent.items(), key=lambda item: -item[1])[:5]
    assert worst[0][1] < LIMIT_S, worst


def wide_reading(patient: str, cells: Cells, seed: int, head: Head) -> Reading:
    encoded, crops = as_encoded(cells, "")
    image = CaseImage(f"{patient}.png", str(seed), cells, crops, encoded)
    counts = encoded.activations.n_patches[np.random.default_rng(seed).permutation(CELLS)]
    counts.data = np.ceil(counts.data)
    case = Case(patient, (image,), sp.csr_array(counts), np.ones(CELLS, bool))
    return run(reading.read(head, case))


def wide_head() -> Head:
    rng = np.random.default_rng(0)
    part = Part("sqrt", rng.normal(0, 3, (3, LATENTS)), np.full(LATENTS, LATENTS**-0.5))
    means = rng.dirichlet(np.ones(LATENTS), 3)
    return Head(
        ("a", "b", "c"),
        np.arange(LATENTS),
        (part,),
        np.zeros(3),
        0.2,
        np.full(LATENTS, LATENTS**-0.5),
        1.0,
        0.0,
        1.0,
        profiles=Profiles(means, 0.1 * means, np.array([9, 8, 7])),
    )


def test_nothing_of_a_patient_blocks_the_gui_thread(
    dock, viewer, until, qtbot, monkeypatch
):
    # Leaving each cell out takes a minute here, in the background.
    changes = np.random.default_rng(0).normal(size=(CELLS, 3))
    monkeypatch.setattr(reading, "cell_changes", lambda *_: changes)
    viewer.window._qt_window.show()
    patients, panel = dock.patients, dock.patient_panel
    names = ("P", "Q")
    head = wide_head()
    first, second = (
        wide_reading(name, many_cells(), seed, head) for seed, name in enumerate(names)
    )
    page = panel.compare
    # That pyqtgraph takes its time to be loaded and set up is not measured.
    page.set_barcodes(head.concepts, *head.profiles.means[:2], "patches a cell")
    PatientMap(parent=page)

    with shares() as spent:
        patients.assign([(PatientImage(f"{name}.png", layer=name), name) for name in names])
        dock.go_to_step("patient")
        patients.set_head(head)
        patients.set_reading(second)
        patients.set_reading(first)
        panel.pages.setCurrentWidget(page)
        until(lambda: "down a" in page._said.text(), 60_000)
        for other in (("concepts", "b"), ("patient", "Q"), ("class", "c")):
            said = page._said.text()
            page.other_chosen.emit(other)
            until(lambda said=said: page._said.text() != said, 60_000)
        box = page._plot.getViewBox()
        for low, high in ((1_000, 30_000), (1_000, 1_500), (0, LATENTS)):
            box.setXRange(low, high)
            qtbot.wait(50)
        page.differences.selectRow(3)
        page.map_clicked.emit()
        until(lambda: any(m.isVisible() for m in page.findChildren(PatientMap)), 60_000)
        panel.pages.setCurrentWidget(panel.why)
        panel.class_picked.emit("b")
        concept = panel.why.waterfall.bars[2].key
        patients.pick(concept)
        patients.leave_out(concepts=(concept,))
        panel.pages.setCurrentWidget(panel.count)
        patients.call((0, 1, 2), "neutrophil")
        panel.patient_chosen.emit("Q")
        qtbot.wait(500)
    worst = sorted(spent.spent.items(), key=lambda item: -item[1])[:5]
    assert worst[0][1] < LIMIT_S, worst


def test_the_measure_sees_what_blocks(dock, monkeypatch):
    monkeypatch.setattr(
        dock.strip, "show_message", lambda text: sum(i * i for i in range(400_000))
    )
    with shares() as spent:
        dock.desk.say("hello")
    assert max(spent.spent.values()) > LIMIT_S

"""Second part of `walk.py`: what is read and written, compared with what is on screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
from PIL import Image
from screenshots import until, wait
from walk_reopen import content

from napari_cytosae.core.catalogue import build, labelled_images, load
from napari_cytosae.core.class_labels import describe_classes, load_all
from napari_cytosae.core.geojson import draw_outlines, read_geojson
from napari_cytosae.core.pipeline import run

if TYPE_CHECKING:
    from walk import Walk


def check(holds: bool, what: str) -> None:
    """Say what was checked, or stop."""
    if not holds:
        raise AssertionError(what)
    print("ok:", what)


def choose_source(panel: Any, source: str) -> None:
    """Choose whose cells the gallery shows, as a click does."""
    sources = panel.below._sources
    sources.setCurrentIndex(sources.findData(source))
    sources.activated.emit(sources.currentIndex())


def walk_files(walk: Walk) -> None:
    """Catalogue, passports, export, session."""
    with tempfile.TemporaryDirectory() as folder:
        _catalogue(walk, Path(folder) / "crops")
        _passports(walk)
        _export(walk, Path(folder) / "export")
        _session(walk, Path(folder) / "session")


def _catalogue(walk: Walk, folder: Path) -> None:
    """A catalogue of the cells of all images: its top images are in the gallery."""
    session, panel, concept = walk.session, walk.panel, walk.concept
    for sha256, (cells, crops, encoded) in session.encoded_images().items():
        kinds = cells.table.set_index("cell_id")["kind"]
        for cell, crop in zip(encoded.cell_ids, crops.images, strict=True):
            place = folder / kinds[cell]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(crop).save(place / f"{sha256[:6]}_{cell}.png")
    made = folder.with_name("catalogue")
    run(build(session.models, labelled_images([folder]), made))
    panel.tools.chosen.emit("catalogue", str(made))
    until(lambda: session.exploration.catalogues, "the catalogue")
    session.focus.select_concept(concept)
    choose_source(panel, "catalogue")
    panel.below.setCurrentIndex(0)
    top = load(made).describe(concept).top
    until(lambda: "images drive" in panel.below._caption.text(), "its images")
    until(lambda: panel.gallery.model().rowCount() == len(top), "its images")
    gallery = panel.gallery.model()
    shown = [gallery.index(row).data() for row in range(gallery.rowCount())]
    check(shown == [f"{value:.2g}" for *_, value in top], f"catalogue: {shown[:3]} ...")
    text = describe_classes(load_all(made))["text"].iloc[concept]
    panel.table.show_columns(["class"])
    until(lambda: _class_of(panel, concept) == text, "its class")
    check(True, f"class of {concept}: {text}")
    walk.take("gallery_catalogue")
    panel.table.show_columns([])
    choose_source(panel, "all")


def _class_of(panel: Any, concept: int) -> str:
    from napari_cytosae.widgets.concept_model import HEADERS

    row = panel.model.row_of(concept)
    return (
        "" if row is None else panel.model.index(row, list(HEADERS).index("class")).data()
    )


def _passports(walk: Walk) -> None:
    """Kept beside the pictures, to be looked at."""
    for suffix in (".html", ".pdf"):
        path = walk.folder / f"passport{suffix}"
        path.unlink(missing_ok=True)
        walk.panel.tools.chosen.emit("passport", str(path))
        until(lambda p=path: p.exists() and not walk.dock.desk.busy, "the passport")
    text = (walk.folder / "passport.html").read_text(encoding="utf-8")
    images = walk.session.encoded_images().values()
    here = max(e.activations.max[:, [walk.concept]].max() for _, _, e in images)
    count = sum(len(e) for _, _, e in images)
    check(f"of {count}</td>" in text, f"passport: {count} cells of {len(images)} images")
    check(f"Concept {walk.concept} granulated" in text, "passport: its name")
    check(f": {here:.2f}<" in text, f"passport: the strongest cell, {here:.2f}")


def _export(walk: Walk, folder: Path) -> None:
    """Tables, AnnData and GeoJSON say what the session says."""
    session, panel = walk.session, walk.panel
    panel.tools.set_extras(["wide", "patches", "geojson", "ome-tiff", "figures", "report"])
    panel.export_clicked.emit(str(folder))
    until(lambda: list(folder.rglob("run.json")) and not walk.dock.desk.busy, "results")
    place = next(folder.rglob("run.json")).parent
    activations = session.encoded.activations
    counts = activations.n_patches
    table = pd.read_csv(place / "concepts.csv")
    check(len(table) == int((counts.data >= 1).sum()), f"concepts.csv: {len(table)} rows")
    named = table.loc[table["concept"] == walk.concept, "name"]
    check(set(named) <= {"granulated"}, "concepts.csv: the name")
    data = anndata.read_h5ad(place / "cells.h5ad")
    check(abs(data.X - counts).max() == 0, f"cells.h5ad: {data.shape}")
    check(data.var["name"].iloc[walk.concept] == "granulated", "cells.h5ad: the name")
    labels = draw_outlines(
        read_geojson(place / "cells.geojson"), session.cells.labels.shape
    )
    check(np.array_equal(labels, session.cells.labels), "cells.geojson comes back")
    features = json.loads((place / "cells.geojson").read_text("utf-8"))["features"]
    title = f"{walk.concept} granulated"
    measured = max(f["properties"]["measurements"].get(title, 0) for f in features)
    strongest = activations.max[:, [walk.concept]].max()
    check(abs(measured - strongest) <= 2e-3 * strongest, f"cells.geojson: {measured:.2f}")
    review = pd.read_csv(place / "review.csv")
    check(len(review) == len(session.review.here()), f"review.csv: {len(review)} rows")
    for name in ("report.html", f"figure_{walk.concept}.png", f"figure_{walk.concept}.svg"):
        (walk.folder / name).write_bytes((place / name).read_bytes())


def _session(walk: Walk, folder: Path) -> None:
    """Saved, changed and opened again; then in a viewer of another process."""
    session, panel = walk.session, walk.panel
    panel.tools.chosen.emit("save", str(folder))
    until(lambda: (folder / "names.json").exists() and not walk.dock.desk.busy, "saving")
    saved = json.loads(json.dumps(content(session)))
    check(len(saved["images"]) == len(walk.images), f"session: {len(walk.images)} images")
    session.overlays.hide(walk.concept)
    session.review.judge(walk.concept, [session.review.here()[0][1]], "reject")
    session.focus.select_concept(None)
    session.naming.undo()
    panel.tools.chosen.emit("open", str(folder))
    until(lambda: any(session.overlays.slots), "the overlay")
    wait(1000)
    _check_same(json.loads(json.dumps(content(session))), saved, "session")
    environment = os.environ | {"CYTOSAE_HOME": str(folder.with_name("home"))}
    opened = subprocess.run(
        [
            *(sys.executable, str(Path(__file__).with_name("walk_reopen.py"))),
            *(str(folder), str(walk.folder / "session_in_new_viewer.png")),
        ],
        stdout=subprocess.PIPE,  # what else it says is seen as it comes
        check=True,
        text=True,
        env=environment,
    )
    _check_same(json.loads(opened.stdout.splitlines()[-1]), saved, "session, new process")


def _check_same(now: dict[str, Any], then: dict[str, Any], what: str) -> None:
    for key, value in then.items():
        check(now[key] == value, f"{what}: {key} as saved")

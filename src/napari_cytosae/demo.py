"""The demo: the whole way from a smear to tables, on what comes with the package.

With a screen it drives the real dock in a real viewer; without one it writes the same
results, and pictures of what the viewer would have shown.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_cytosae.core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_cytosae._analysis import Report
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import Cells, Encoded, Image
    from napari_cytosae.synthetic import SyntheticSmear

SMEAR_FILE = "synthetic_smear.tif"
OVERVIEW_FILE = "overview.png"

MAX_OVERLAYS = 4
_CANDIDATES = 64
_MOSTLY = 0.75


def can_show() -> bool:
    """Whether a viewer can be opened: napari, a Qt binding, and a screen that answers."""
    if find_spec("napari") is None:
        return False
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return False
    # Qt ends the process when a screen does not answer or a system library is missing.
    code = "from qtpy.QtWidgets import QApplication; QApplication([])"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    return tried.returncode == 0


def in_viewer(output: Path) -> None:
    """Open a viewer with the dock, let it walk through the steps, and stay open.

    Parameters
    ----------
    output : Path
        Folder for the exported results.
    """
    import napari

    from napari_cytosae.widgets.demo_walk import DemoWalk

    viewer = napari.Viewer(title="napari-cytosae demo")
    _, dock = viewer.window.add_plugin_dock_widget("napari-cytosae", "CytoSAE")
    DemoWalk(viewer, dock, output).start()
    napari.run()


def headless(
    output: Path, backbone: str = "starter", sae: str = "starter"
) -> Generator[Progress, None, list[Path]]:
    """Do what ``analyze`` does on the built-in smear, and draw what it shows.

    Parameters
    ----------
    output : Path
        Gets the smear itself (with its pixel size, so that any program can open it), the
        folder of its results, and in it an overlay picture for each of the chosen
        concepts and an overview.
    backbone, sae : str
        As `load_models` takes them.

    Returns
    -------
    list of Path
        All files written.

    Raises
    ------
    CytoError
        If the starter model is missing, or `output` cannot be written.
    """
    from napari_cytosae._analysis import CellSource, analyze_image
    from napari_cytosae.core.images import read_image
    from napari_cytosae.core.loading import load_models

    yield Progress("Drawing the smear", 0, 0)
    from napari_cytosae._sample_data import demo_smear

    smear = output / SMEAR_FILE
    _save(demo_smear(), smear)
    image = read_image(smear)
    yield Progress("Loading the models", 0, 0)
    models = load_models(backbone, sae)
    folder = output / smear.stem
    report = yield from analyze_image(
        image, folder, CellSource(), models, concepts=partial(telling_concepts, models)
    )
    yield Progress("Drawing the figures", 0, 0)
    _draw(image, report, models, folder)
    return [smear, *sorted(folder.iterdir())]


def telling_concepts(models: Models, cells: Cells, encoded: Encoded) -> list[int]:
    """Choose concepts whose overlays are worth a look, at most `MAX_OVERLAYS`.

    Of those that fire mostly inside the cells: the one whose map looks most like the
    nuclei, the one whose map looks most like the cytoplasm (cosine of the two maps), and
    then those that tell the cells apart best.

    Parameters
    ----------
    models : Models
        That encoded the cells.
    cells : Cells
        With nuclei.
    encoded : Encoded
        With tokens.
    """
    import numpy as np

    from napari_cytosae.core.concepts import mask_fractions, ranking

    if not len(encoded):
        return []
    table = ranking(encoded.activations)
    table = table[table["prevalence"] * len(encoded) >= min(2, len(encoded))].head(
        _CANDIDATES
    )
    if not len(table):
        return []
    concepts = table["concept"].to_numpy()
    grids = models.concept_grids(encoded, concepts.tolist())
    masks = mask_fractions(cells, encoded.boxes, models.grid)
    overlap = np.einsum("kngh,npgh->kp", grids, masks, optimize=True)
    map_norm = np.sqrt(np.einsum("kngh,kngh->k", grids, grids, optimize=True))
    mask_norm = np.sqrt(np.einsum("npgh,npgh->p", masks, masks, optimize=True))
    alike = overlap / np.maximum(map_norm[:, None] * mask_norm, 1e-12)
    inside = overlap[:, :2].sum(axis=1) / np.maximum(overlap.sum(axis=1), 1e-12)
    enough = min(_MOSTLY, np.sort(inside)[-MAX_OVERLAYS:].min())
    telling = np.nan_to_num(table["specificity"].to_numpy())  # of one cell: unknown
    chosen: list[int] = []
    for score in (alike[:, 0], alike[:, 1], *[telling] * (MAX_OVERLAYS - 2)):
        taken = np.isin(concepts, chosen) | (inside < enough)
        free = np.where(taken, -np.inf, score)
        best = int(free.argmax())
        if np.isfinite(free[best]):
            chosen.append(int(concepts[best]))
    return chosen


def _save(drawn: SyntheticSmear, path: Path) -> None:
    import tifffile

    from napari_cytosae.core.drawn import DRAWN
    from napari_cytosae.core.files import atomic_file

    with atomic_file(path) as temporary:
        tifffile.imwrite(
            temporary,
            drawn.rgb,
            photometric="rgb",
            imagej=True,
            resolution=(1 / drawn.pixel_size, 1 / drawn.pixel_size),
            metadata={"unit": "um", "axes": "YXS", "Info": DRAWN},
        )


def _draw(image: Image, report: Report, models: Models, folder: Path) -> None:
    from napari_cytosae.core.concepts import ranking
    from napari_cytosae.core.figures import (
        OVERLAY_COLOURS,
        FigureConcept,
        overlay_figure,
        overview_figure,
        save_png,
    )
    from napari_cytosae.core.overlay import robust_scale

    shown = [
        FigureConcept(
            concept,
            report.names.get(concept, ""),
            overlay,
            robust_scale(overlay.grids)[1],
            colour,
        )
        for (concept, overlay), colour in zip(
            report.overlays.items(), OVERLAY_COLOURS, strict=False
        )
    ]
    for concept in shown:
        picture = overlay_figure(image, concept, report.cells)
        save_png(picture, folder / f"overlay_{concept.concept}.png")
    table = ranking(report.encoded.activations, names=report.names)
    caption = f"{models.backbone_info.name} with {models.sae_info.name}"
    overview = overview_figure(image, report.cells, report.crops, table, shown, caption)
    save_png(overview, folder / OVERVIEW_FILE)

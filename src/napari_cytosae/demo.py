"""The demo: the whole way from a smear to tables, on what comes with the package.

With a screen it drives the real dock in a real viewer; without one it writes the same
results, and pictures of what the viewer would have shown.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_cytosae.core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_cytosae._analysis import Report
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import Encoded
    from napari_cytosae.synthetic import SyntheticSmear

SMEAR_FILE = "synthetic_smear.tif"
OVERVIEW_FILE = "overview.png"

MAX_OVERLAYS = 4


def can_show() -> bool:
    """Whether there are napari, a Qt binding and a screen to open a viewer on."""
    if find_spec("napari") is None or not any(
        find_spec(binding) for binding in ("PySide6", "PyQt6", "PyQt5")
    ):
        return False
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


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
    from napari_cytosae.core.models import load_models

    yield Progress("Drawing the smear", 0, 0)
    from napari_cytosae._sample_data import demo_smear

    smear = output / SMEAR_FILE
    _save(demo_smear(), smear)
    image = read_image(smear)
    yield Progress("Loading the models", 0, 0)
    models = load_models(backbone, sae)
    folder = output / smear.stem
    report = yield from analyze_image(
        image, folder, CellSource(), models, concepts=telling_concepts
    )
    yield Progress("Drawing the figures", 0, 0)
    _draw(report, models, folder)
    return [smear, *sorted(folder.iterdir())]


def telling_concepts(encoded: Encoded) -> list[int]:
    """Return the concepts whose overlays tell cells and their parts apart best.

    Of those that fire in some but not all of the patches of several cells, the ones with
    the largest product of activation and specificity.
    """
    from napari_cytosae.core.concepts import ranking

    table = ranking(encoded.activations)
    shared = table[table["prevalence"] >= min(2 / max(len(encoded), 1), 1)]
    best = (shared["here"] * shared["specificity"]).sort_values(ascending=False)
    return [int(shared.loc[row, "concept"]) for row in best.index[:MAX_OVERLAYS]]


def _save(drawn: SyntheticSmear, path: Path) -> None:
    import tifffile

    from napari_cytosae.core.files import atomic_file

    with atomic_file(path) as temporary:
        tifffile.imwrite(
            temporary,
            drawn.rgb,
            photometric="rgb",
            imagej=True,
            resolution=(1 / drawn.pixel_size, 1 / drawn.pixel_size),
            metadata={"unit": "um", "axes": "YXS"},
        )


def _draw(report: Report, models: Models, folder: Path) -> None:
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
        picture = overlay_figure(report.image, concept, report.cells)
        save_png(picture, folder / f"overlay_{concept.concept}.png")
    table = ranking(report.encoded.activations, names=report.names)
    caption = f"{models.backbone_info.name} with {models.sae_info.name}"
    overview = overview_figure(
        report.image, report.cells, report.crops, table, shown, caption
    )
    save_png(overview, folder / OVERVIEW_FILE)


def in_viewer(output: Path) -> None:
    """Open a viewer with the dock, let it walk through the steps, and stay open."""
    raise NotImplementedError(output)

"""The results of one image on one page: what was done, with what, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cytosae.core import html
from napari_cytosae.core._panel import drawn_crop
from napari_cytosae.core.concepts import ranking
from napari_cytosae.core.figures import overlay_figure, overview_figure
from napari_cytosae.core.provenance import found_by

if TYPE_CHECKING:
    from napari_cytosae.core._panel import FigureConcept
    from napari_cytosae.core.extras import Written

RANKED = 20
_CELLS_SHOWN = 8
_THUMBNAIL_PX = 110


def report_page(results: Written) -> str:
    """One self-contained HTML page."""
    cells = results.cells
    parts = [html.section("Methods", html.paragraph(_methods(results)))]
    flagged = cells.table.loc[cells.table["qc"] != "ok", ["cell_id", "kind", "qc"]]
    counts = {
        f"{kind} found": int(count)
        for kind, count in cells.table["kind"].value_counts().items()
    }
    counts |= {"without remarks": len(cells) - len(flagged), "flagged": len(flagged)}
    notes = "; ".join(results.image.notes)
    quality = [html.facts(counts)]
    if notes:
        quality.append(html.paragraph(f"Image: {notes}."))
    if len(flagged):
        quality.append(html.table(flagged))
    parts.append(html.section("Cells and quality", *quality))
    table = ranking(results.encoded.activations, names=results.names).head(RANKED)
    shown = results.shown()
    if len(results.encoded):
        overview = overview_figure(results.image, cells, results.crops, table, shown[:4])
        parts.append(html.section("Overview", html.picture(overview, results.image.name)))
        parts.append(html.section("Strongest concepts", html.table(table)))
    parts += [_concept(results, each) for each in shown]
    parts.append(_origin(results))
    return html.page(f"Concepts of {results.image.name}", parts)


def _methods(results: Written) -> str:
    record, cells = results.record, results.cells
    models = " and ".join(model["name"] for model in record.models.values())
    size = cells.pixel_size
    um = f"{size.um:.4g} um ({size.source})" if size.um else "unknown"
    field = results.crops.field_of_view_um
    crop = f"{field:.3g} um" if field else "a multiple of the white cells' diameter"
    threshold = results.encoded.activations.threshold
    found = found_by(record.parameters)
    text = (
        f"{len(cells)} {'cell was' if len(cells) == 1 else 'cells were'} found by {found}; "
        f"a pixel is {um}. Crops with a side of {crop} around "
        f"{len(results.encoded)} of them were resized to 224 x 224 px and encoded with "
        f"{models}. An activation over {threshold:g} in a patch counts. Here is the mean "
        "activation over the patches of all cells, prevalence the share of cells with a "
        "patch over the threshold, specificity the standard deviation of the cells' mean "
        "activations divided by their mean; it is blank where there is but one cell."
    )
    if not results.encoded.complete:
        text += " Encoding was stopped early: not all cells are included."
    return text


def _concept(results: Written, shown: FigureConcept) -> str:
    grids = shown.overlay.grids
    strength = results.encoded.activations.strongest(shown.concept)
    order = np.argsort(-strength, kind="stable")[:_CELLS_SHOWN]
    thumbnails = [
        html.picture(
            drawn_crop(
                results.crops[int(i)], grids[i], shown.colour, shown.vmax, _THUMBNAIL_PX
            ),
            f"cell {results.encoded.cell_ids[i]}: {strength[i]:.2f}",
        )
        for i in order[strength[order] > 0]
    ]
    figure = html.picture(overlay_figure(results.image, shown, results.cells))
    return html.section(f"Concept {shown.title}", figure, *thumbnails)


def _origin(results: Written) -> str:
    record = results.record
    rows: dict[str, object] = {"made": record.created}
    for role, model in record.models.items():
        rows[role] = f"{model['name']}, sha256 {model['sha256']}, from {model['source']}"
    rows |= {f"image {name}": f"sha256 {digest}" for name, digest in record.inputs.items()}
    rows |= {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in record.parameters.items()
    }
    versions = pd.DataFrame(record.versions.items(), columns=["package", "version"])
    return html.section("Provenance", html.facts(rows), html.table(versions))

"""Everything known of one concept on one page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_cytosae.core import html
from napari_cytosae.core._drawing import background_colour, colour_bar
from napari_cytosae.core._panel import OVERLAY_COLOURS, drawn_crop
from napari_cytosae.core.class_labels import describe_classes, distribution
from napari_cytosae.core.overlay import robust_scale
from napari_cytosae.core.provenance import found_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image as PillowImage

    from napari_cytosae.core._annotation import Annotation
    from napari_cytosae.core.catalogue import Catalogue
    from napari_cytosae.core.types import Float32Array, Provenance, UInt8Array

SHOWN_CELLS = 24
_THUMBNAIL_PX = 120


@dataclass(frozen=True, slots=True, eq=False)
class Passport:
    """What `passport_page` says of a concept; what is not known is left out.

    Attributes
    ----------
    concept : int
    annotation : Annotation
        The analyst's words.
    record : Provenance
        What made it.
    statistics : Series, optional
        The concept's row of a ranking: activation here, prevalence, specificity ...
    location : Series, optional
        Its row of `core.concepts.location`.
    grids : ndarray of float32, (n, grid, grid), optional
        Its activation in the patches of all cells.
    strength : ndarray of float32, (n,), optional
        Of each cell its `ConceptActivations.max`, as it is called everywhere; given with
        `grids`, which are computed anew of kept tokens and differ in the last digits.
    crops : sequence of ndarray of uint8, (h, w, 3)
        The cells, in the order of `grids`.
    titles : sequence of str
        What each of them is called.
    catalogues : mapping of data set to Catalogue
        Of the same SAE.
    similar : sequence of (concept, name, cosine)
        Of `Models.similar_concepts`.
    stability : Series, optional
        Its row of `core.stability.measure_stability`.
    history : sequence of dict
        Of `ConceptNames.history`.
    """

    concept: int
    annotation: Annotation
    record: Provenance
    statistics: pd.Series[Any] | None = None
    location: pd.Series[Any] | None = None
    grids: Float32Array | None = None
    strength: Float32Array | None = None
    crops: Sequence[UInt8Array] = ()
    titles: Sequence[str] = ()
    catalogues: Mapping[str, Catalogue] = field(default_factory=dict)
    similar: Sequence[tuple[int, str, float]] = ()
    stability: pd.Series[Any] | None = None
    history: Sequence[dict[str, Any]] = ()


def passport_page(passport: Passport) -> str:
    """One self-contained HTML page."""
    said = passport.annotation
    title = f"Concept {passport.concept} {said.name}".rstrip()
    parts = [_words(said)]
    if passport.grids is not None and passport.strength is not None:
        parts.append(_cells(passport, passport.grids, passport.strength))
    if passport.statistics is not None:
        numbers = html.facts(_named(passport.statistics))
        parts.append(html.section("In these cells", numbers))
    if passport.location is not None:
        numbers = html.facts(_percent(passport.location.drop("where").astype(float)))
        parts.append(html.section("Where in the cell", numbers))
    if passport.stability is not None:
        text = (
            "Share of the activation that stays in the same cells after a shift by half a "
            "patch, a turn by 10 degrees and a change of the stain by 5 % (1: all of it)."
        )
        numbers = html.facts(_named(passport.stability))
        parts.append(html.section("Stability", html.paragraph(text), numbers))
    if passport.catalogues:
        parts.append(_catalogues(passport.concept, passport.catalogues))
    if passport.similar:
        frame = pd.DataFrame(passport.similar, columns=["concept", "name", "cosine"])
        parts.append(html.section("Similar concepts (decoder)", html.table(frame)))
    if passport.history:
        frame = pd.DataFrame(passport.history)[["time", "field", "old", "new"]]
        parts.append(html.section("History of its name", html.table(frame)))
    parts.append(_origin(passport.record))
    return html.page(title, parts)


def _words(said: Annotation) -> str:
    lines = []
    if said.star:
        lines.append("\N{BLACK STAR} starred")
    if said.tags:
        lines.append("Tags: " + ", ".join(said.tags))
    lines.append(said.note or "No notes.")
    return html.paragraph("\n".join(lines))


def _cells(passport: Passport, grids: Float32Array, strength: Float32Array) -> str:
    crops = passport.crops
    order = np.argsort(-strength, kind="stable")
    order = order[strength[order] > 0][:SHOWN_CELLS]
    if not len(order):
        return html.section("Cells that drive it", html.paragraph("It fires in no cell."))
    vmax = robust_scale(grids)[1]
    pictures = [
        html.picture(
            drawn_crop(crops[int(i)], grids[i], OVERLAY_COLOURS[0], vmax, _THUMBNAIL_PX),
            f"{passport.titles[i]}: {strength[i]:.2f}",
        )
        for i in order
    ]
    bar = html.picture(_bar(crops, vmax), "activation of a patch")
    text = f"The strongest {len(order)} of {int((strength > 0).sum())} in which it fires."
    cells = html.pictures(pictures)
    return html.section("Cells that drive it", html.paragraph(text), cells, bar)


def _bar(crops: Sequence[UInt8Array], vmax: float) -> PillowImage.Image:
    from PIL import Image as PillowImage

    strip = PillowImage.new("RGB", (260, 28), "white")
    background = background_colour(crops[0])
    colour_bar(strip, (30, 6, 200, 22), OVERLAY_COLOURS[0], background, vmax, "black")
    return strip


def _catalogues(concept: int, catalogues: Mapping[str, Catalogue]) -> str:
    rows = []
    for name, each in catalogues.items():
        found = each.describe(concept)
        flags = ", ".join(found.flags)
        rows.append((name, found.sparsity, found.mean_act, found.entropy, flags))
    columns = ["data set", "share of images", "mean activation", "label entropy", "flags"]
    text = describe_classes(catalogues)["text"].iloc[concept]
    return html.section(
        "In the catalogues",
        html.paragraph(text or "No data set with class names."),
        html.table(pd.DataFrame(rows, columns=columns)),
        html.paragraph("Labels of the images in which it is strongest:"),
        html.table(distribution(catalogues, concept)),
    )


def _named(values: pd.Series[Any]) -> dict[str, object]:
    return {str(name): value for name, value in values.items()}


def _percent(shares: pd.Series[float]) -> dict[str, object]:
    return {
        str(place): "" if np.isnan(share) else f"{share:.0%}"
        for place, share in shares.items()
    }


def _origin(record: Provenance) -> str:
    lines: dict[str, object] = {"made": record.created}
    for role, model in record.models.items():
        lines[role] = f"{model['name']} (sha256 {model['sha256']})"
    lines |= {f"image {name}": f"sha256 {digest}" for name, digest in record.inputs.items()}
    if "cells" in record.parameters:
        lines["cells"] = f"found by {found_by(record.parameters)}"
    lines["napari-cytosae"] = record.versions.get("napari-cytosae", "")
    return html.section("Where this comes from", html.facts(lines))

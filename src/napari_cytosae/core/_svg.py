"""A figure of overlays in SVG: the smear as pixels, all that is drawn on it as lines."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage

from napari_cytosae.core._drawing import MAX_ALPHA, background_colour, blend, scale_bar_um
from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from napari_cytosae.core._panel import FigureConcept
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Image

_MARGIN, _HEAD, _FOOT = 20, 48, 44
_MAX_SIDE = 3000
_OUTLINE = "#10217a"


def overlay_svg(
    image: Image | Pyramid, shown: FigureConcept, cells: Cells | None = None
) -> str:
    """One concept on the slide, as `figures.overlay_figure`, for a page or a poster.

    Cell outlines, scale bar, colour bar and text stay lines and text; a slide above 3,000
    px a side is shown reduced.
    """
    height, width = image.shape
    step = -(-max(height, width) // _MAX_SIDE)
    rgb = image.thinned(step)
    activation = shown.overlay.region(0, 0, height, width, step)
    activation = activation[: rgb.shape[0], : rgb.shape[1]]
    picture = blend(
        rgb[: activation.shape[0], : activation.shape[1]],
        activation,
        shown.colour,
        shown.vmax,
    )
    stream = io.BytesIO()
    PillowImage.fromarray(picture).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    total = width + 2 * _MARGIN, height + _HEAD + _FOOT
    foot = _HEAD + height + _FOOT / 2
    title = escape(shown.title)
    um = image.pixel_size.um or (cells.pixel_size.um if cells is not None else None)
    red, green, blue = background_colour(image)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" '
        f'width="{total[0]}" height="{total[1]}" font-family="sans-serif" font-size="16">',
        f"<title>{title}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        '<defs><linearGradient id="bar">'
        f'<stop offset="0" stop-color="{shown.colour}" stop-opacity="0"/>'
        f'<stop offset="1" stop-color="{shown.colour}" stop-opacity="{MAX_ALPHA}"/>'
        "</linearGradient></defs>",
        f'<text x="{_MARGIN}" y="30" font-size="20" font-weight="bold">{title}</text>',
        f'<image x="{_MARGIN}" y="{_HEAD}" width="{width}" height="{height}" '
        f'href="data:image/png;base64,{data}"/>',
    ]
    if cells is not None and not cells.single_cell:
        parts.append(_outlines(cells))
    if um:
        parts.append(_scale_bar(width, height, um))
    bar = f'x="{_MARGIN + 16}" y="{foot - 8}" width="160" height="16"'
    parts += [
        f'<text x="{_MARGIN}" y="{foot + 6}">0</text>',
        f'<rect {bar} fill="rgb({red},{green},{blue})"/>',
        f'<rect {bar} fill="url(#bar)" stroke="#333"/>',
        f'<text x="{_MARGIN + 182}" y="{foot + 6}">{shown.vmax:.2g}</text>',
        f'<text x="{total[0] - _MARGIN}" y="{foot + 6}" text-anchor="end" font-size="12" '
        f'fill="#666">{escape(RESEARCH_USE)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _outlines(cells: Cells) -> str:
    """All cells as one path, in px from the image's corner."""
    from napari_cytosae.core.geojson import outline_rings

    path = " ".join(
        "M" + " L".join(f"{x:g},{y:g}" for x, y in ring[:-1]) + "Z"
        for _, polygons in outline_rings(cells)
        for rings in polygons
        for ring in rings
    )
    return (
        f'<path transform="translate({_MARGIN},{_HEAD})" d="{path}" fill="none" '
        f'stroke="{_OUTLINE}" stroke-width="1.5"/>'
    )


def _scale_bar(width: int, height: int, um: float) -> str:
    length = scale_bar_um(width, um)
    pixels = length / um
    size = max(12, round(np.hypot(width, height) / 45))
    x, y = _MARGIN + width - size - pixels, _HEAD + height - size
    return (
        f'<rect x="{x - size / 2:g}" y="{y - 2 * size:g}" width="{pixels + size:g}" '
        f'height="{2.6 * size:g}" rx="{size / 3:g}" fill="white" fill-opacity="0.8"/>'
        f'<rect x="{x:g}" y="{y - size / 4:g}" width="{pixels:g}" height="{size / 4:g}"/>'
        f'<text x="{x + pixels / 2:g}" y="{y - size / 2:g}" text-anchor="middle" '
        f'font-size="{size}">{length:g} \N{MICRO SIGN}m</text>'
    )

"""How alike patients are, as a drawing: one square a pair."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage

from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from napari_cytosae.core.resemblance import Resemblance

_SIDE, _LABELS, _TOP, _FOOT = 720, 240, 60, 44
_LETTERS, _LARGEST, _SMALLEST = 30, 14, 4
_SCALE = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Viridis, at quarters."""


def map_svg(shown: Resemblance, note: str = RESEARCH_USE) -> str:
    """The map of `resemblance`, in its order; names are left out where they do not fit."""
    n = len(shown.names)
    low, high = shown.limits
    title = f"{n} patients: correlation from {low:.2f} (violet) to {high:.2f} (yellow)"
    part = np.clip((shown.matrix - low) / (high - low), 0, 1)
    stops = np.linspace(0, 1, len(_SCALE))
    rgb = np.stack([np.interp(part, stops, c) for c in zip(*_SCALE, strict=True)], axis=-1)
    stream = io.BytesIO()
    PillowImage.fromarray(rgb.round().astype(np.uint8)).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    width, height = _LABELS + _SIDE + 20, _TOP + _SIDE + _FOOT
    size = min(_LARGEST, 0.8 * _SIDE / n)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="14">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="20" y="34" font-size="18">{escape(title)}</text>',
        f'<image x="{_LABELS}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>',
    ]
    if size >= _SMALLEST:
        lines += [
            f'<text x="{_LABELS - 6}" y="{_TOP + (row + 0.5) * _SIDE / n + size / 3:.1f}" '
            f'font-size="{size:.1f}" text-anchor="end">{escape(_short(name))}</text>'
            for row, name in enumerate(shown.names)
        ]
    lines += [f'<text x="20" y="{height - 16}">{escape(note)}</text>', "</svg>"]
    return "\n".join(lines) + "\n"


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 3]}..."

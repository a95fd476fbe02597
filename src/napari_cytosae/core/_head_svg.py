"""The report of a head as a drawing: confusion, calibration and ROC, side by side."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core._head_report import HeadReport

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
"""Okabe and Ito, told apart by colour-blind eyes."""

_CELL, _SIDE, _TOP, _GAP = 64, 320, 110, 90
_LABELS = 190


def report_svg(found: HeadReport) -> str:
    """The figure of a report, in lines and text, for a page or a poster."""
    k = len(found.classes)
    matrix = _LABELS + k * _CELL
    left = matrix + _GAP, matrix + 2 * _GAP + _SIDE
    width = left[1] + _SIDE + 30
    height = _TOP + max(k * _CELL, _SIDE) + 80
    score, low, high = found.overall["weighted F1"]
    title = f"Nested cross-validation: weighted F1 {score:.2f} [{low:.2f}, {high:.2f}]"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(20, 34, title, size=20),
        *_confusion(found),
        *_axes(left[0], "confidence", "share of correct predictions"),
        _line([(s, t) for s, t, _ in found.curve], left[0], _COLOURS[0]),
        *(_dot(said, true, left[0]) for said, true, _ in found.curve),
        *_axes(left[1], "false positive rate", "true positive rate"),
    ]
    for index, (name, curve) in enumerate(zip(found.classes, found.roc, strict=True)):
        colour = _COLOURS[index % len(_COLOURS)]
        area = found.per_class["AUROC"][index][0]
        parts.append(_line(curve, left[1], colour))
        y = _TOP + _SIDE - 12 - 17 * (k - 1 - index)
        label = f"{name} {area:.2f}"
        parts.append(_text(left[1] + _SIDE - 8, y, label, anchor="end", fill=colour))
    parts += [_text(20, height - 20, found.note), "</svg>"]
    return "\n".join(parts) + "\n"


def _confusion(found: HeadReport) -> list[str]:
    parts = [_text(_LABELS, _TOP - 34, "predicted class")]
    for row, name in enumerate(found.classes):
        y = _TOP + row * _CELL
        label = f"{name} ({found.counts[row]})"
        parts.append(_text(_LABELS - 8, y + _CELL / 2 + 4, label, anchor="end"))
        x = _LABELS + (row + 0.5) * _CELL
        short = name.removeprefix("AML-")[:9]
        parts.append(_text(x, _TOP - 8, short, size=11, anchor="middle"))
        for column, count in enumerate(found.confusion[row]):
            share = count / max(found.counts[row], 1)
            x = _LABELS + column * _CELL
            parts.append(
                f'<rect x="{x}" y="{y}" width="{_CELL - 2}" height="{_CELL - 2}" '
                f'fill="{_COLOURS[0]}" fill-opacity="{share:.3f}" stroke="#ccc"/>'
            )
            fill = "white" if share > 0.5 else "black"
            place = (x + _CELL / 2 - 1, y + _CELL / 2 + 4)
            parts.append(_text(*place, f"{count:.1f}", anchor="middle", fill=fill))
    return parts


def _axes(left: float, below: str, above: str) -> list[str]:
    bottom = _TOP + _SIDE
    return [
        f'<rect x="{left}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none" '
        'stroke="#888"/>',
        f'<line x1="{left}" y1="{bottom}" x2="{left + _SIDE}" y2="{_TOP}" stroke="#bbb"/>',
        _text(left, _TOP - 8, f"{above}, 0 to 1"),
        _text(left + _SIDE / 2, bottom + 22, f"{below}, 0 to 1", anchor="middle"),
    ]


def _line(points: Sequence[tuple[float, float]], left: float, colour: str) -> str:
    path = " ".join(
        f"{left + x * _SIDE:.1f},{_TOP + (1 - y) * _SIDE:.1f}" for x, y in points
    )
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _dot(x: float, y: float, left: float) -> str:
    place = f'cx="{left + x * _SIDE:.1f}" cy="{_TOP + (1 - y) * _SIDE:.1f}"'
    return f'<circle {place} r="4" fill="{_COLOURS[0]}"/>'


def _text(
    x: float, y: float, said: str, size: int = 13, anchor: str = "start", fill: str = "#222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{fill}">{escape(said)}</text>'
    )

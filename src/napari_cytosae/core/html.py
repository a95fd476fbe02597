"""Pages that need nothing but themselves: pictures inside, no scripts, printable."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd
    from PIL import Image as PillowImage

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62em; margin: 2em auto;
       padding: 0 1em }
h1 { font-size: 1.6em; margin-bottom: 0 } h2 { font-size: 1.15em; margin: 1.6em 0 .4em }
p.note { border-left: 4px solid #d55e00; padding: .2em .8em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .15em .8em .15em 0; text-align: left; vertical-align: top }
th { font-weight: 600; border-bottom: 1px solid #888 }
td.n { text-align: right } img { max-width: 100%; height: auto }
figure { margin: .3em .6em .3em 0; display: inline-block } figcaption { font-size: .85em }
code { font-size: .85em; overflow-wrap: anywhere }
@media print { h2 { break-after: avoid } figure, table { break-inside: avoid } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page; the research-use note stands on it."""
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="note">{escape(RESEARCH_USE)}</p>\n'
        f"{body}\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what belongs to it."""
    return "\n".join((f"<h2>{escape(title)}</h2>", *parts))


def paragraph(text: str) -> str:
    """Plain text, its lines kept."""
    return "<p>" + escape(text).replace("\n", "<br>") + "</p>"


def table(frame: pd.DataFrame) -> str:
    """A table of text and numbers, empty where a value is unknown."""
    head = "".join(f"<th>{escape(str(column))}</th>" for column in frame.columns)
    rows = "\n".join(
        "<tr>" + "".join(map(_cell, row)) + "</tr>"
        for row in frame.itertuples(index=False, name=None)
    )
    return f"<table><tr>{head}</tr>\n{rows}</table>"


def facts(values: Mapping[str, object]) -> str:
    """Names and values, one a line."""
    rows = "\n".join(
        f"<tr><td>{escape(name)}</td>{_cell(value)}</tr>" for name, value in values.items()
    )
    return f"<table>{rows}</table>"


def picture(image: PillowImage.Image, caption: str = "", width: int | None = None) -> str:
    """A picture inside the page; a caption below it."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    size = f' width="{width}"' if width else ""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img alt="{escape(caption)}"{size} src="data:image/png;base64,{data}">'
        f"{below}</figure>"
    )


def pictures(figures: Iterable[str]) -> str:
    """Pictures of `picture`, side by side."""
    return f'<div class="pictures">{"".join(figures)}</div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="n">{"" if value != value else f"{value:.3g}"}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td class="n">{value}</td>'
    return f"<td>{escape('' if value is None else str(value))}</td>"

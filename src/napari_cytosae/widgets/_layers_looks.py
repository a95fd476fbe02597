"""How the analyst had layers shown, for a session that is saved and opened again."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_cytosae.widgets._layer_facts import role_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Layer

    from napari_cytosae.widgets._layers import CanvasLayers

    Look = Mapping[str, Any]

OUTLINES = "cells"
"""What the outlines of the image in front are called among the looks of images."""

_SHOWN = ("opacity", "blending", "visible")
_PICTURE = ("interpolation2d",)
_GREY = ("contrast_limits", "gamma")
"""What changes nothing in an image of colours."""
_LABELS = ("contour",)


class LayerLooks:
    """Reads them by the image's sha256, and gives them to layers, now or when they come."""

    def __init__(self, canvas: CanvasLayers) -> None:
        self._canvas = canvas
        self._coming: tuple[Any, Look] | None = None

    def read(self) -> dict[str, dict[str, Any]]:
        """Of the layers of images that were read, the lowest first, and of the outlines.

        JSON values.
        """
        opened = self._canvas.opened
        looks = {
            sha256: _look(layer, (*_SHOWN, *_PICTURE, *(() if layer.rgb else _GREY)))
            for layer in self._canvas.images()
            for sha256 in opened.images_of(layer)
        }
        outlines = self._canvas.outlines.layer()
        if outlines is not None:
            looks[OUTLINES] = _look(outlines, (*_SHOWN, *_LABELS))
        return looks

    def put(self, looks: Mapping[str, Look]) -> None:
        """Show layers as `read` said; the outlines also when they come later."""
        for sha256, look in looks.items():
            layer = self._canvas.opened.layer(sha256)
            if layer is not None:
                _show(layer, look)
        if OUTLINES in looks:
            self._coming = self._canvas.source_id(), looks[OUTLINES]
        outlines = self._canvas.outlines.layer()
        if outlines is not None:
            self.dress(outlines)

    def lie_as(self, looks: Mapping[str, Look]) -> bool:
        """Whether the images that `read` told of lie in the same order, none between."""
        now = [sha256 for sha256 in self.read() if sha256 != OUTLINES]
        return now == [sha256 for sha256 in looks if sha256 != OUTLINES]

    def dress(self, layer: Layer) -> None:
        """Show the outlines as they were, if it is they that came."""
        if self._coming is None or role_of(layer).get("role") != "cells":
            return
        source, look = self._coming
        if role_of(layer).get("source") == source:
            self._coming = None
            _show(layer, look)


def _look(layer: Layer, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _plain(getattr(layer, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    return str(value) if isinstance(value, str) else [float(each) for each in value]


def _show(layer: Layer, look: Look) -> None:
    for name in (*_SHOWN, *_PICTURE, *_GREY, *_LABELS):
        if name in look and hasattr(layer, name):
            # A value that this napari does not know changes nothing.
            with suppress(ValueError, TypeError):
                setattr(layer, name, look[name])

"""The layers that lay activation maps over the slide: one a slot, used again and again.

napari takes 0.1 s to add a layer and to draw it for the first time, more than all else that
a tick needs. One may therefore be added and drawn ahead, empty, to take the next concept;
while no tick is to be expected it is hidden, as each layer in view makes a frame longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from psygnal import Signal

from napari_cytosae.widgets._colours import overlay_colormap
from napari_cytosae.widgets._layer_facts import TAG, role_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_cytosae.session_values import Overlay
    from napari_cytosae.widgets._layers import CanvasLayers


class OverlayLayers:
    """Our overlay layers, and what the analyst does to them in napari.

    Signals
    -------
    deleted : slot
    restyled : slot, visible, opacity
        By napari's own controls.
    """

    deleted = Signal(int)
    restyled = Signal(int, bool, float)

    def __init__(self, canvas: CanvasLayers) -> None:
        self._canvas = canvas
        self._quiet = False
        canvas.removed.connect(self._on_removed)

    def close(self) -> None:
        """Hear nothing more of the layers; they stay where they are."""
        self._canvas.removed.disconnect(self._on_removed)
        self.dismiss()
        for layer in self._canvas.tagged("overlay"):
            layer.events.visible.disconnect(self._on_restyled)
            layer.events.opacity.disconnect(self._on_restyled)

    def layer(self, slot: int) -> Image | None:
        """The layer of a slot, or None."""
        for layer in self._canvas.tagged("overlay"):
            if role_of(layer).get("slot") == slot and isinstance(layer, Image):
                return layer
        return None

    def shown_concept(self, slot: int) -> int | None:
        """The concept whose map a slot's layer holds."""
        layer = self.layer(slot)
        return None if layer is None else role_of(layer).get("concept")

    def expect(self, data: Any, overlay: Overlay) -> None:
        """Have a layer wait for the next concept, drawn but empty.

        Parameters
        ----------
        data : array (H, W) or list of arrays
            Zeros, of the kind and size of the maps to come.
        overlay : Overlay
            How the next concept will look; its id is not yet known.
        """
        for layer in self._canvas.tagged("waiting"):
            if isinstance(layer, Image):
                self._style(layer, overlay)
            return
        look = overlay.colour, overlay.threshold
        layer = self._new_layer(
            data, "Next concept", (0.0, 1.0), *look, {"role": "waiting"}
        )
        self._style(layer, overlay)
        self._canvas.add(layer)

    def rest(self) -> None:
        """Hide a layer that waits: no tick is to be expected."""
        for layer in self._canvas.tagged("waiting"):
            layer.visible = False

    def dismiss(self) -> None:
        """Take a layer away that waits for a concept."""
        for layer in self._canvas.tagged("waiting"):
            self._canvas.remove(layer)

    def show(self, slot: int, name: str, data: Any, top: float, overlay: Overlay) -> None:
        """Lay an activation map over the source image.

        Parameters
        ----------
        slot : int
            Each slot has one layer, re-used.
        name : str
            Of the layer.
        data : array (H, W) or list of arrays
            A list is a pyramid, shown lazily.
        top : float
            Activation at the end of the colour scale.
        overlay : Overlay
            How it looks.
        """
        multiscale = isinstance(data, list)
        limits = (0.0, max(float(top), 1e-6))
        layer = self.layer(slot)
        if layer is not None and layer.multiscale != multiscale:
            self._canvas.remove(layer)
            layer = None
        tag: dict[str, Any] = {"role": "overlay", "slot": slot}
        if layer is None:
            layer = self._waiting(multiscale)
            if layer is not None:
                layer.metadata[TAG] = tag
                self._canvas.put_on_top(layer)
                self._listen(layer)
        if layer is None:
            look = overlay.colour, overlay.threshold
            layer = self._new_layer(data, name, limits, *look, tag)
            self._style(layer, overlay)
            self._canvas.add(layer)
            self._listen(layer)
        else:
            layer.data = data
            layer.name = name
            self._canvas.place(layer)
            self._style(layer, overlay)
        if layer.contrast_limits != list(limits):
            layer.contrast_limits_range = limits
            layer.contrast_limits = limits
        tag = layer.metadata[TAG]
        tag["concept"], tag["source"] = overlay.concept, self._canvas.source_id()

    def raise_(self, slot: int) -> None:
        """Lay an overlay over the others."""
        layer = self.layer(slot)
        if layer is not None:
            self._canvas.put_on_top(layer)

    def style(self, slot: int, overlay: Overlay) -> None:
        """Change how an overlay looks, not what it shows."""
        layer = self.layer(slot)
        if layer is not None:
            self._style(layer, overlay)

    def rename(self, slot: int, name: str) -> None:
        """Give an overlay's layer another name."""
        layer = self.layer(slot)
        if layer is not None:
            layer.name = name

    def remove(self, slot: int) -> None:
        """Take an overlay away."""
        layer = self.layer(slot)
        if layer is not None:
            self._canvas.remove(layer)

    def _waiting(self, multiscale: bool) -> Image | None:
        """A layer that waits for maps of this kind, or None."""
        for layer in self._canvas.tagged("waiting"):
            if isinstance(layer, Image) and layer.multiscale == multiscale:
                return layer
        return None

    def _new_layer(
        self,
        data: Any,
        name: str,
        limits: tuple[float, float],
        colour: str,
        threshold: float,
        tag: dict[str, Any],
    ) -> Image:
        return Image(
            data,
            name=name,
            multiscale=isinstance(data, list),
            rgb=False,
            blending="translucent",
            contrast_limits=limits,
            colormap=overlay_colormap(colour, threshold),
            metadata={TAG: tag},
            **self._canvas.placement(),
        )

    def _listen(self, layer: Image) -> None:
        layer.events.visible.connect(self._on_restyled)
        layer.events.opacity.connect(self._on_restyled)

    def _style(self, layer: Image, overlay: Overlay) -> None:
        self._quiet = True
        try:
            colormap = overlay_colormap(overlay.colour, overlay.threshold)
            if layer.colormap.name != colormap.name:
                layer.colormap = colormap
            layer.interpolation2d = "linear" if overlay.smooth else "nearest"
            layer.opacity = overlay.opacity
            layer.colorbar.visible = overlay.bar
            if layer.visible != overlay.visible:
                # napari slices anew even where nothing changes.
                layer.visible = overlay.visible
        finally:
            self._quiet = False

    def _on_removed(self, layer: Layer, by_us: bool) -> None:
        tag = role_of(layer)
        if tag.get("role") == "overlay" and not by_us:
            self.deleted.emit(tag["slot"])

    def _on_restyled(self, event: Any) -> None:
        layer = event.source
        if not self._quiet:
            self.restyled.emit(
                role_of(layer)["slot"], bool(layer.visible), float(layer.opacity)
            )

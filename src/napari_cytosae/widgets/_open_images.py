"""Which layer of the viewer shows which image."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari.layers import Image, Layer


class OpenImages:
    """Images that were read, by their sha256, and the layers they were read from.

    Parameters
    ----------
    listed : callable
        Gives the image layers that are in the viewer.
    """

    def __init__(self, listed: Callable[[], list[Image]]) -> None:
        self._listed = listed
        self._layer_of: WeakValueDictionary[str, Image] = WeakValueDictionary()

    def __contains__(self, sha256: str) -> bool:
        return self.layer(sha256) is not None

    def know(self, sha256: str, layer: Image) -> None:
        """Remember what a layer was read as."""
        self._layer_of[sha256] = layer

    def layer(self, sha256: str) -> Image | None:
        """The layer of an image, where it is still in the viewer."""
        layer = self._layer_of.get(sha256)
        return layer if layer in self._listed() else None

    def images_of(self, layer: Layer) -> list[str]:
        """What a layer was read as, also after it was taken away."""
        return [sha256 for sha256, of in self._layer_of.items() if of is layer]

    def count_others(self, images: Collection[str]) -> int:
        """How many layers show none of these images."""
        shown = {id(self._layer_of.get(sha256)) for sha256 in images}
        return sum(id(layer) not in shown for layer in self._listed())

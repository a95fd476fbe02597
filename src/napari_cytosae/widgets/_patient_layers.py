"""Images of patients in the viewer: found, opened, read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_cytosae.patient_session import PatientImage
from napari_cytosae.widgets._layer_facts import TAG, layer_pixels, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel

    from napari_cytosae.widgets._image_tasks import LayerPixels
    from napari_cytosae.widgets._open_images import OpenImages


class PatientLayers:
    """Image layers of one viewer, as images of patients."""

    def __init__(self, viewer: ViewerModel, opened: OpenImages) -> None:
        self._viewer, self._opened = viewer, opened

    def images(self) -> list[tuple[PatientImage, str]]:
        """All open images, each with the patient its layer says it is of, or nothing."""
        return [
            (_image_of(layer), _patient_of(layer))
            for layer in self._viewer.layers
            if isinstance(layer, Image) and not role_of(layer)
        ]

    def find(self, image: PatientImage) -> Image | None:
        """The layer of an image, or None where it is not open."""
        for layer in self._viewer.layers:
            if (
                isinstance(layer, Image)
                and not role_of(layer)
                and _key(_image_of(layer)) == _key(image)
            ):
                return layer
        return None

    def open(self, image: PatientImage) -> Image | None:
        """The layer of an image, opened where that has not been done."""
        layer = self.find(image)
        if layer is None and image.path:
            self._viewer.open(image.path, plugin="napari", rgb=True, name=image.name)
            layer = self.find(image)
        return layer

    def bring_up(self, image: PatientImage, others: Iterable[PatientImage]) -> None:
        """Show an image that was asked for, with its outlines, and no other patient's."""
        shown = self.find(image)
        for layer in filter(None, map(self.find, others)):
            layer.visible = layer is shown
            for outlines in self._viewer.layers:
                tag = role_of(outlines)
                if tag.get("role") == "cells" and tag.get("source") == layer.unique_id:
                    outlines.visible = layer.visible
        active = self._viewer.layers.selection.active
        if shown is not None and active is not None and not active.visible:
            self._viewer.layers.selection.active = shown

    def know(self, image: PatientImage, sha256: str) -> None:
        """Remember what an image was read as, for where it is open."""
        layer = self.find(image)
        if layer is not None:
            self._opened.know(sha256, layer)

    def pixels(self, image: PatientImage) -> LayerPixels | None:
        """What the layer of an image holds; None where it is not open."""
        layer = self.find(image)
        return None if layer is None else layer_pixels(layer)


def _image_of(layer: Image) -> PatientImage:
    path = layer.source.path
    if path is not None and Path(path).is_file():
        return PatientImage(Path(path).name, str(path))
    return PatientImage(layer.name, layer=str(layer.unique_id))


def _key(image: PatientImage) -> Any:
    return Path(image.path).resolve() if image.path else image.layer


def _patient_of(layer: Image) -> str:
    """The patient that a built-in sample notes."""
    tag = layer.metadata.get(TAG)
    return str(tag.get("patient", "")) if isinstance(tag, dict) else ""

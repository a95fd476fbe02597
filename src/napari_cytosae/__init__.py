"""Concepts of a vision transformer, laid over stained smears. Research use only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cytosae.core.crops import crop_cells
    from napari_cytosae.core.images import read_image
    from napari_cytosae.core.loading import load_models
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.segmentation import segment
    from napari_cytosae.core.types import Cells, ConceptActivations, Crops, CytoError

__version__ = "0.1.0"

__all__ = [
    "Cells",
    "ConceptActivations",
    "Crops",
    "CytoError",
    "Models",
    "__version__",
    "crop_cells",
    "load_models",
    "read_image",
    "segment",
]

# Resolved on first use: importing the package loads neither torch nor Qt.
_HOME = {
    "Cells": "types",
    "ConceptActivations": "types",
    "Crops": "types",
    "CytoError": "types",
    "Models": "models",
    "crop_cells": "crops",
    "load_models": "loading",
    "read_image": "images",
    "segment": "segmentation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.core.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

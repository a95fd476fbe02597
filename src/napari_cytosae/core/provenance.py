"""What made a result, in a form that JSON and h5ad can hold."""

from __future__ import annotations

import math
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_cytosae.core.types import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_cytosae.core.types import BackboneInfo, SaeInfo

_PACKAGES = (
    "napari-cytosae",
    "anndata",
    "imagecodecs",
    "numpy",
    "pandas",
    "pillow",
    "safetensors",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "tifffile",
    "timm",
    "torch",
    "torchvision",
)


class Named(Protocol):
    """An image as far as a record goes: what it is called, and its content's hash."""

    @property
    def name(self) -> str:
        """Of the file or layer."""

    @property
    def sha256(self) -> str:
        """Of its content."""


@dataclass(frozen=True, slots=True)
class ImageIdentity:
    """An image whose pixels are not at hand."""

    name: str
    sha256: str


def provenance(
    images: Iterable[Named],
    parameters: Mapping[str, Any],
    backbone: BackboneInfo | None = None,
    sae: SaeInfo | None = None,
) -> Provenance:
    """Record what makes a result, now.

    Parameters
    ----------
    images : iterable of Image, Pyramid or ImageIdentity
        The inputs; those of one name and different content are numbered.
    parameters : mapping
        Whatever changes the result: threshold, field of view, pixel size and its source,
        device, precision.
    backbone, sae : optional
        The models, where there are any.
    """
    inputs: dict[str, str] = {}
    for image in images:
        inputs[free_key(image.name, image.sha256, inputs)] = image.sha256
    models = {
        role: {"name": info.name, "sha256": info.sha256, "source": info.source}
        for role, info in (("backbone", backbone), ("sae", sae))
        if info is not None
    }
    return Provenance(
        versions={"python": platform.python_version(), **_versions()},
        models=models,
        parameters={key: _plain(value) for key, value in parameters.items()},
        inputs=inputs,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def found_by(parameters: Mapping[str, Any]) -> str:
    """How cells were found, and how many of them were corrected by hand."""
    how = str(parameters.get("cells", "segmentation"))
    edits = [
        f"{parameters[f'cells_{what}']} {what}"
        for what in ("added", "changed", "removed")
        if f"cells_{what}" in parameters
    ]
    return f"{how} ({', '.join(edits)})" if edits else how


def as_json(record: Provenance) -> dict[str, Any]:
    """The record as values of JSON."""
    plain = _plain(asdict(record))
    assert isinstance(plain, dict)
    return plain


def as_uns(record: Provenance) -> dict[str, Any]:
    """The record as an h5ad file can hold it in ``uns``.

    None is left out, lists become arrays, and ``/`` in keys (napari allows it in layer
    names) becomes ``_``, because HDF5 would make groups of it.
    """
    storable = _storable(as_json(record))
    assert isinstance(storable, dict)
    return storable


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def free_key(name: str, sha256: str, taken: Mapping[str, str]) -> str:
    """What to call an input: its name, numbered where another one has it."""
    key, number = name, 2
    while taken.get(key, sha256) != sha256:
        key, number = f"{name} ({number})", number + 1
    return key


def _plain(value: Any) -> Any:
    """Dictionaries, lists, text, numbers and None; NaN and infinity are None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [_plain(item) for item in items]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return (
        value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
    )


def _storable(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key.replace("/", "_"): _storable(item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        numbers = all(isinstance(item, (bool, int, float)) for item in value)
        return (
            np.array(value) if numbers else np.array([str(item) for item in value], object)
        )
    return value

"""What each concept looks like over a whole data set, in the layout of the published files.

One folder holds ``max_activating_image_values.pt``, ``max_activating_image_indices.pt``,
``max_activating_image_label_indices.pt``, ``sae_mean_acts.pt``, ``sae_sparsity.pt`` and
``top_entropy.pt``; those built here also say which images and which SAE they are of.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_cytosae.core._catalogue_build import INFO_FILE, build, labelled_images
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_cytosae.core.types import BoolArray, Float32Array, Int64Array

__all__ = [
    "ALWAYS_ON",
    "HIGH_MAGNITUDE",
    "VALUES_FILE",
    "Catalogue",
    "Description",
    "build",
    "labelled_images",
    "load",
]

VALUES_FILE = "max_activating_image_values.pt"
"""Every catalogue has this file."""

HIGH_MAGNITUDE = 0.1
"""Mean activation above which the reference's demo calls a latent noisy."""

ALWAYS_ON = 0.9
"""Share of images above which a latent tells nothing apart."""


@dataclass(frozen=True, slots=True)
class Description:
    """One concept in a catalogue.

    Attributes
    ----------
    concept : int
    mean_act : float
        Mean activation over the images that fire; NaN where none does.
    sparsity : float
        Share of images that fire.
    entropy : float
        Of the labels of the top images; NaN where none fires or labels are unknown.
    flags : tuple of str
        ``always-on``, ``high magnitude``.
    top : tuple of (image, label, value)
        Strongest first; only images that fire. The image is its file name, or its number
        where the catalogue does not say.
    """

    concept: int
    mean_act: float
    sparsity: float
    entropy: float
    flags: tuple[str, ...]
    top: tuple[tuple[str, str, float], ...]

    def __str__(self) -> str:
        """Lines for a terminal."""
        lines = [
            f"concept          {self.concept}",
            f"fires in         {self.sparsity:.2%} of the images",
            f"mean activation  {self.mean_act:.4g}",
            f"label entropy    {max(self.entropy, 0.0):.3f}",
            f"flags            {', '.join(self.flags) or 'none'}",
            "top images",
        ]
        rows = [f"  {value:.4f}  {label:<24} {image}" for image, label, value in self.top]
        return "\n".join(lines + (rows or ["  none: it never fires here"]))


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """Statistics of all latents of an SAE over a data set.

    Attributes
    ----------
    values : ndarray of float32, (d_sae, top)
        Largest mean activations (over all tokens), descending; 0 is padding.
    indices : ndarray of int64, (d_sae, top)
        The images; meaningless where the value is 0.
    labels : ndarray of int64, (d_sae, top), or None
    mean_acts, sparsity : ndarray of float32, (d_sae,)
    entropy : ndarray of float32, (d_sae,), or None
    classnames : tuple of str
        Name of each label; empty where unknown.
    images : tuple of str
        Name of each image; empty where unknown.
    sae_sha256 : str
        Empty where unknown.
    folder : Path or None
        Where it was read from.
    """

    values: Float32Array
    indices: Int64Array
    labels: Int64Array | None
    mean_acts: Float32Array
    sparsity: Float32Array
    entropy: Float32Array | None
    classnames: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    sae_sha256: str = ""
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def flags(self) -> dict[str, BoolArray]:
        """Which latents are always-on or of high magnitude, (d_sae,) each."""
        with np.errstate(invalid="ignore"):
            return {
                "always-on": self.sparsity > ALWAYS_ON,
                "high magnitude": self.mean_acts > HIGH_MAGNITUDE,
            }

    def describe(self, concept: int) -> Description:
        """Everything known of one concept.

        Raises
        ------
        CytoError
            If there is no such concept.
        """
        if not 0 <= concept < len(self):
            raise CytoError(
                f"There is no concept {concept}: this catalogue has 0 to {len(self) - 1}."
            )
        top = [
            (self._image(concept, rank), self._label(concept, rank), float(value))
            for rank, value in enumerate(self.values[concept])
            if value > 0
        ]
        return Description(
            concept,
            float(self.mean_acts[concept]),
            float(self.sparsity[concept]),
            float("nan") if self.entropy is None else float(self.entropy[concept]),
            tuple(flag for flag, hit in self.flags.items() if hit[concept]),
            tuple(top),
        )

    def files(self, concept: int) -> list[Path | None]:
        """The file of each top image of a concept that fires, as in `describe`.

        None where the catalogue names no image, or it is not on this machine (a relative
        name counts from the catalogue's folder).
        """
        found: list[Path | None] = []
        for rank in np.flatnonzero(self.values[concept] > 0).tolist():
            name = Path(self._image(concept, rank))
            path = name if self.folder is None else self.folder / name
            found.append(path if path.is_file() else None)
        return found

    def _image(self, concept: int, rank: int) -> str:
        index = int(self.indices[concept, rank])
        return self.images[index] if index < len(self.images) else f"image {index}"

    def _label(self, concept: int, rank: int) -> str:
        if self.labels is None:
            return ""
        label = int(self.labels[concept, rank])
        return self.classnames[label] if label < len(self.classnames) else str(label)


def load(folder: Path | str, classnames: Path | str | None = None) -> Catalogue:
    """Read a catalogue, built here or published.

    Parameters
    ----------
    folder : path-like
        With the ``.pt`` files; labels and entropy may be missing.
    classnames : path-like, optional
        Text file with a class name a line, in label order; ``classnames.txt`` of the folder
        by default.

    Raises
    ------
    CytoError
        If files are missing, damaged, or do not fit together.
    """
    folder = Path(folder)
    values = _read(folder, "max_activating_image_values").astype(np.float32)
    indices = _read(folder, "max_activating_image_indices").astype(np.int64)
    mean_acts = _read(folder, "sae_mean_acts").astype(np.float32)
    sparsity = _read(folder, "sae_sparsity").astype(np.float32)
    labels = entropy = None
    if (folder / "max_activating_image_label_indices.pt").is_file():
        labels = _read(folder, "max_activating_image_label_indices").astype(np.int64)
    if (folder / "top_entropy.pt").is_file():
        entropy = _read(folder, "top_entropy").astype(np.float32)
    fits = (
        values.ndim == 2
        and values.shape == indices.shape == (values if labels is None else labels).shape
        and mean_acts.shape == sparsity.shape == values.shape[:1]
        and (entropy is None or entropy.shape == values.shape[:1])
    )
    if not fits:
        raise CytoError(
            f"The files in {folder} are not of one SAE: build the catalogue again."
        )
    info = _info(folder)
    names = Path(classnames) if classnames else folder / "classnames.txt"
    lines = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    return Catalogue(
        values,
        indices,
        labels,
        mean_acts,
        sparsity,
        entropy,
        tuple(line.strip() for line in lines if line.strip()),
        tuple(info.get("images", ())),
        info.get("sae", {}).get("sha256", ""),
        folder,
    )


def _read(folder: Path, name: str) -> npt.NDArray[np.generic]:
    path = folder / f"{name}.pt"
    if not path.is_file():
        raise CytoError(f"{path} is missing: give the folder with a catalogue's .pt files.")
    try:
        # The published files were saved on a GPU; weights_only runs nothing from the file.
        tensor = torch.load(path, map_location="cpu", weights_only=True)
        return np.asarray(tensor.numpy())
    except Exception as error:  # damaged pickles raise nearly anything
        raise CytoError(
            f"{path} is damaged: copy it or build the catalogue again."
        ) from error


def _info(folder: Path) -> dict[str, Any]:
    path = folder / INFO_FILE
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CytoError(f"{path} is damaged: build the catalogue again.") from error
    return info if isinstance(info, dict) else {}

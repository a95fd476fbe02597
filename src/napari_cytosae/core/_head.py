"""A linear head: what ``head.json`` holds, and the scores it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core._recipes import Transform, transformed
from napari_cytosae.core.types import ModelMismatchError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from napari_cytosae.core._profiles import Profiles
    from napari_cytosae.core.patients import Barcodes
    from napari_cytosae.core.types import Float64Array, Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Coefficients on one transform of the barcode.

    Attributes
    ----------
    transform : Transform
    coefficients : ndarray of float64, (n_classes, k)
    reference : ndarray of float64, (k,)
        The mean training patient, transformed: contributions are counted from there.
    """

    transform: Transform
    coefficients: Float64Array
    reference: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """All that is needed to predict: what ``head.json`` holds.

    Attributes
    ----------
    classes : tuple of str
    concepts : ndarray of int64, (k,)
    parts : tuple of Part
    intercept : ndarray of float64, (n_classes,)
        The mean training patient's scores.
    limit : float
        Probability from which on a class is in the prediction set.
    typical : ndarray of float64, (k,)
        Mean of the training patients' root fractions, of length 1; 0 for a concept that
        none of them has.
    fewest_cells, similarity, unseen : float
        A patient below, below, above these is unlike those it was trained on.
    sae_sha256 : str
        Empty where unknown.
    about : dict
        How it was trained and how it scored.
    profiles : Profiles or None
        None in a file without them.
    ranges : dict of str to (float, float)
        Where the training patients' `quality.FACTS` lie; those unknown are left out.
    """

    classes: tuple[str, ...]
    concepts: Int64Array
    parts: tuple[Part, ...]
    intercept: Float64Array
    limit: float
    typical: Float64Array
    fewest_cells: float
    similarity: float
    unseen: float
    sae_sha256: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    profiles: Profiles | None = None
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    def scores(self, values: csr_array) -> Float64Array:
        """Class scores of barcodes with this head's concepts, (n, n_classes)."""
        total = np.tile(self.intercept, (values.shape[0], 1))
        for part in self.parts:
            shifted = transformed(values, part.transform) - part.reference
            total += shifted @ part.coefficients.T
        return total

    def columns(self, barcodes: Barcodes) -> csr_array:
        """Values of this head's concepts, in its order.

        Raises
        ------
        ModelMismatchError
            If the barcodes are of another SAE, or lack a concept.
        """
        theirs = barcodes.sae_sha256
        if theirs and self.sae_sha256 and theirs != self.sae_sha256:
            raise ModelMismatchError(
                "These barcodes were made with another SAE than the head was trained on: "
                f"{theirs[:12]} is not {self.sae_sha256[:12]}."
            )
        if np.array_equal(barcodes.concepts, self.concepts):
            return barcodes.values
        position = {int(concept): i for i, concept in enumerate(barcodes.concepts)}
        missing = [int(c) for c in self.concepts if int(c) not in position]
        if missing:
            raise ModelMismatchError(
                f"These barcodes lack {len(missing)} of the head's {len(self.concepts)} "
                f"concepts, {missing[0]} for one: they are of another SAE."
            )
        return barcodes.values[:, [position[int(c)] for c in self.concepts]]

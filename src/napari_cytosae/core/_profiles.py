"""What is kept of the patients of each class, to compare others with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from napari_cytosae.core._class_null import null_tail
from napari_cytosae.core._label_null import label_tail

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float64Array, Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """The mean barcode of each class, in shares, to compare patients with.

    Attributes
    ----------
    means, deviations : ndarray of float64, (n_classes, k)
        Over the training patients of a class.
    counts : ndarray of int64, (n_classes,)
        How many they are.
    tails : ndarray of float64, (n_classes, STEPS), or None
        Of `_class_null.null_tail`; None in a file without them.
    sizes : ndarray of int64, (n_classes,), or None
        Of the same.
    root_means, root_deviations : ndarray of float64, (n_classes, k), or None
        Of the square roots of the shares; None in a file without them.
    label_tails : ndarray of float64, (n_classes, _label_null.STEPS), or None
        Of `_label_null.label_tail`; None in a file without them.
    label_sizes : ndarray of int64, (n_classes,), or None
        Of the same.
    """

    means: Float64Array
    deviations: Float64Array
    counts: Int64Array
    tails: Float64Array | None = None
    sizes: Int64Array | None = None
    root_means: Float64Array | None = None
    root_deviations: Float64Array | None = None
    label_tails: Float64Array | None = None
    label_sizes: Int64Array | None = None


def profiles_of(
    shares: Float64Array, labels: Int64Array, groups: Int64Array, n_classes: int
) -> Profiles:
    """Profiles of classes, by their patients.

    Parameters
    ----------
    shares : ndarray of float64, (n, k)
        Barcodes of sum 1.
    labels : ndarray of int64, (n,)
        Class of each, from 0; none is empty.
    groups : ndarray of int64, (n,)
        Of `_copies.kept_together`.
    n_classes : int
        How many classes there are.
    """
    of_class = [shares[labels == label] for label in range(n_classes)]
    roots = [np.sqrt(rows) for rows in of_class]
    tails, sizes = zip(*map(null_tail, of_class), strict=True)
    every_root = sparse.csr_array(np.sqrt(shares))
    label_tails, label_sizes = zip(
        *(label_tail(every_root, labels, groups, index) for index in range(n_classes)),
        strict=True,
    )
    return Profiles(
        np.array([rows.mean(axis=0) for rows in of_class]),
        np.array([_deviation(rows) for rows in of_class]),
        np.array([len(rows) for rows in of_class]),
        np.array(tails),
        np.array(sizes),
        np.array([rows.mean(axis=0) for rows in roots]),
        np.array([_deviation(rows) for rows in roots]),
        np.array(label_tails),
        np.array(label_sizes),
    )


def _deviation(rows: Float64Array) -> Float64Array:
    found: Float64Array = rows.std(axis=0, ddof=1 if len(rows) > 1 else 0)
    return found

"""Patients as barcodes: how much of each concept their average cell shows.

``b[k]`` is the number of patch tokens with ``f[k] > threshold``, mean over the cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_cytosae.core._bootstrap import bootstrap
from napari_cytosae.core.drawn import SYNTHETIC, is_drawn
from napari_cytosae.core.patient_cells import barcode
from napari_cytosae.core.provenance import free_key
from napari_cytosae.core.quality import summary
from napari_cytosae.core.types import RESEARCH_USE, CytoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from napari_cytosae.core.patient_cells import PatientCells
    from napari_cytosae.core.types import (
        BoolArray,
        Float64Array,
        Int64Array,
    )


REFERENCE = "counts of the reference's code"
"""``source`` of barcodes that were read from ``cls_sae_cnt.npy``."""

COUNTED = (
    "these are sums over a patient's cells divided by the number of latents, and count the "
    "CLS token, where barcodes are means over the cells. Heads and comparisons divide each "
    "patient by his own sum, which makes the two alike; they cannot tell who has too few "
    "cells."
)
"""Of such barcodes."""


@dataclass(frozen=True, slots=True, eq=False)
class Barcodes:
    """Patients x concepts, and what is known of each patient.

    Attributes
    ----------
    patients : tuple of str
        Not necessarily unique: a patient may have several samples.
    values : csr_array of float32, (n, k)
        Counts a cell, or fractions.
    concepts : ndarray of int64, (k,)
        Concept of each column.
    n_cells : ndarray of float64, (n,)
        NaN where unknown; so are the others.
    n_images : ndarray of float64, (n,)
        Images that could be read.
    qc_share : ndarray of float64, (n,)
        Share of the cells without a quality flag. Flagged cells count all the same.
    diagnosis : tuple of str
        Empty where unknown.
    low, high : csr_array of float32, (n, k), or None
        Bootstrap interval over the cells, `_bootstrap.LEVEL`.
    record : dict
        ``uns["cytosae"]``: what made them; empty where unknown.
    problems : tuple of str
        One sentence for each row of the source that was left out.
    facts : ndarray of float64, (n, len(quality.FACTS)), or None
        Of `quality.summary`; None where nothing was measured.
    images : tuple of tuple of str, n of them
        What each patient's images show (`_copies.content_of`); empty where unknown.
    cautions : tuple of str
        One sentence for each row of the source to look at; nothing is left out for it.
    others : dict of str to tuple of str
        What else is known of each patient, like scanner or day; empty where unknown.
    """

    patients: tuple[str, ...]
    values: sparse.csr_array
    concepts: Int64Array
    n_cells: Float64Array
    n_images: Float64Array
    qc_share: Float64Array
    diagnosis: tuple[str, ...]
    low: sparse.csr_array | None = None
    high: sparse.csr_array | None = None
    record: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    facts: Float64Array | None = None
    images: tuple[tuple[str, ...], ...] = ()
    cautions: tuple[str, ...] = ()
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def titles(self) -> tuple[str, ...]:
        """Name and diagnosis of each patient."""
        pairs = zip(self.patients, self.diagnosis, strict=True)
        return tuple(f"{name} ({what})" if what else name for name, what in pairs)

    @property
    def note(self) -> str:
        """What everything made of them must say: research use, and if they are drawn."""
        if any(is_drawn(content) for of in self.images for content in of):
            return SYNTHETIC
        note = str(self.record.get("note", ""))
        return note if RESEARCH_USE in note else RESEARCH_USE

    @property
    def caveat(self) -> str:
        """What a reader must know of the values; empty for counts a cell."""
        parameters = self.record.get("parameters", {})
        return COUNTED if parameters.get("source") == REFERENCE else ""

    @property
    def sae_sha256(self) -> str:
        """Hash of the SAE whose concepts these are; empty where unknown."""
        models = self.record.get("models")
        sae = models.get("sae") if isinstance(models, dict) else None
        return str(sae.get("sha256", "")) if isinstance(sae, dict) else ""

    def rows(self, chosen: Sequence[int] | Int64Array | BoolArray) -> Barcodes:
        """Some of the patients, in the order given."""
        index = np.asarray(chosen)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        return Barcodes(
            tuple(self.patients[i] for i in index),
            self.values[index],
            self.concepts,
            self.n_cells[index],
            self.n_images[index],
            self.qc_share[index],
            tuple(self.diagnosis[i] for i in index),
            None if self.low is None else self.low[index],
            None if self.high is None else self.high[index],
            self.record,
            self.problems,
            None if self.facts is None else self.facts[index],
            tuple(self.images[i] for i in index) if self.images else (),
            self.cautions,
            {name: tuple(of[i] for i in index) for name, of in self.others.items()},
        )


def collect(patients: Iterable[PatientCells], record: dict[str, Any]) -> Barcodes:
    """Make barcodes of patients, one at a time.

    Parameters
    ----------
    patients : iterable of PatientCells
        Each with at least one cell; only one is held at a time.
    record : dict
        For ``uns["cytosae"]``.

    Raises
    ------
    CytoError
        If there is no patient, or one without cells.
    """
    about: list[tuple[str, str, int, int, float]] = []
    facts: list[Float64Array] = []
    images: list[tuple[str, ...]] = []
    others: list[Mapping[str, str]] = []
    stacks: list[list[sparse.csr_array]] = [[], [], []]
    for one in patients:
        vectors = (barcode(one.counts), *bootstrap(one.counts))
        for rows, vector in zip(stacks, vectors, strict=True):
            rows.append(_row(vector))
        images.append(one.images)
        others.append(one.others)
        if one.facts is not None:
            facts.append(summary(one.facts))
        share = float(one.ok.mean())
        about.append((one.patient, one.diagnosis, len(one.ok), one.n_images, share))
    if not about:
        raise CytoError("There are no patients with cells to make barcodes of.")
    names, diagnosis, n_cells, n_images, shares = zip(*about, strict=True)
    values, low, high = (
        sparse.csr_array(sparse.vstack(rows, format="csr")) for rows in stacks
    )
    return Barcodes(
        names,
        values,
        np.arange(values.shape[1]),
        np.array(n_cells, dtype=np.float64),
        np.array(n_images, dtype=np.float64),
        np.array(shares, dtype=np.float64),
        diagnosis,
        low,
        high,
        record,
        facts=np.array(facts) if len(facts) == len(about) else None,
        images=tuple(images) if any(images) else (),
        others={
            name: tuple(known.get(name, "") for known in others)
            for name in dict.fromkeys(name for known in others for name in known)
        },
    )


def together(parts: Sequence[Barcodes]) -> Barcodes:
    """The patients of several tables of the same concepts as one.

    What made them is told of the first; the inputs are those of all.
    """
    first = parts[0]
    inputs: dict[str, Any] = {}
    for part in parts:
        for name, sha256 in part.record.get("inputs", {}).items():
            inputs[free_key(name, sha256, inputs)] = sha256

    def stacked(tables: list[sparse.csr_array | None]) -> sparse.csr_array | None:
        known = [table for table in tables if table is not None]
        if len(known) < len(parts):
            return None
        return sparse.csr_array(sparse.vstack(known, format="csr"))

    values = stacked([part.values for part in parts])
    facts = [part.facts for part in parts if part.facts is not None]
    assert values is not None
    return Barcodes(
        tuple(name for part in parts for name in part.patients),
        values,
        first.concepts,
        np.concatenate([part.n_cells for part in parts]),
        np.concatenate([part.n_images for part in parts]),
        np.concatenate([part.qc_share for part in parts]),
        tuple(name for part in parts for name in part.diagnosis),
        stacked([part.low for part in parts]),
        stacked([part.high for part in parts]),
        first.record | {"inputs": inputs},
        facts=np.concatenate(facts) if len(facts) == len(parts) else None,
        images=tuple(of for part in parts for of in part.images or ((),) * len(part))
        if any(part.images for part in parts)
        else (),
        others={
            name: tuple(
                value
                for part in parts
                for value in part.others.get(name, ("",) * len(part))
            )
            for name in dict.fromkeys(name for part in parts for name in part.others)
        },
    )


def _row(dense: npt.NDArray[np.float64]) -> sparse.csr_array:
    return sparse.csr_array(dense[None].astype(np.float32))

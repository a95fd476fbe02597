"""Which patients can be trained on, and what to be wary of."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._copies import shared_images
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from napari_cytosae.core.patients import Barcodes

FEW_PATIENTS = 8
"""A class with fewer is warned of."""

FEWEST_PATIENTS = 3
"""Of a class: one to test on, and two to choose and calibrate the head with."""


def cautions(barcodes: Barcodes) -> list[str]:
    """What should make one doubt a head trained on these patients."""
    said = []
    diagnoses: dict[str, set[str]] = {}
    for patient, diagnosis in zip(barcodes.patients, barcodes.diagnosis, strict=True):
        if diagnosis:
            diagnoses.setdefault(patient, set()).add(diagnosis)
    samples = Counter(barcodes.patients)
    twice = [patient for patient, count in samples.items() if count > 1]
    if twice:
        who = "1 patient has" if len(twice) == 1 else f"{len(twice)} patients have"
        said.append(
            f"{who} several samples ({_some(twice)}): they are kept together in all folds."
        )
    torn = [patient for patient, known in diagnoses.items() if len(known) > 1]
    if torn:
        said.append(f"{_some(torn)}: the same patient in two classes; check the labels.")
    said += shared_images(barcodes)
    counts = Counter(next(iter(known)) for known in diagnoses.values())
    few = [name for name, count in sorted(counts.items()) if count < FEW_PATIENTS]
    if few:
        said.append(
            f"Fewer than {FEW_PATIENTS} patients in {_some(few)}: their numbers mean "
            "little."
        )
    return said


def usable(barcodes: Barcodes) -> tuple[Barcodes, list[str]]:
    """The patients that can be trained on, and what is said of classes left out.

    Raises
    ------
    CytoError
        If fewer than two classes have enough of them.
    """
    members: dict[str, set[str]] = {}
    for patient, diagnosis in zip(barcodes.patients, barcodes.diagnosis, strict=True):
        if diagnosis:
            members.setdefault(diagnosis, set()).add(patient)
    small = sorted(name for name, who in members.items() if len(who) < FEWEST_PATIENTS)
    problems = [
        f"{name} has too few patients ({_some(sorted(members[name]))}) and is left out: a "
        f"class needs {FEWEST_PATIENTS} at least."
        for name in small
    ]
    if len(members) - len(small) < 2:
        raise CytoError(
            f"A head needs at least two diagnoses with {FEWEST_PATIENTS} patients each: "
            "give them in the barcodes' diagnosis column or with --diagnoses."
        )
    kept = [bool(name) and name not in small for name in barcodes.diagnosis]
    return barcodes.rows(np.array(kept)), problems


def undiagnosed(barcodes: Barcodes) -> list[str]:
    """A sentence on the patients without a diagnosis, where there are some."""
    pairs = zip(barcodes.patients, barcodes.diagnosis, strict=True)
    names = list(dict.fromkeys(name for name, diagnosis in pairs if not diagnosis))
    if not names:
        return []
    few = len(names) == 1
    who = f"1 patient has no diagnosis ({names[0]}) and is"
    who = (
        who if few else f"{len(names)} patients have no diagnosis ({_some(names)}) and are"
    )
    return [f"{who} left out."]


def _some(names: list[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")

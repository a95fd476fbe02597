"""Were barcodes made as those a head was trained on: what differs, what nobody can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core.quality import FACTS

if TYPE_CHECKING:
    from napari_cytosae.core._head import Head
    from napari_cytosae.core.patients import Barcodes

SETTINGS = {
    "threshold": "threshold",
    "include_cls": "CLS token",
    "cells": "how cells are found",
    "field_of_view_um": "field of view",
}
"""Parameters of a record that head and barcodes must share, and what they are called."""


def mismatches(head: Head, barcodes: Barcodes) -> list[str]:
    """What was done otherwise than for the head's training, as parts of a sentence."""
    known = {key: pair for key, pair in _pairs(head, barcodes).items() if None not in pair}
    said = []
    for key, (trained, given) in known.items():
        if trained == given:
            continue
        if key == "include_cls":
            said.append(f"CLS token {_counted(given)}, in training {_counted(trained)}")
        else:
            what, unit = SETTINGS[key], " um" if key == "field_of_view_um" else ""
            said.append(f"{what} {given}{unit}, in training {trained}{unit}")
    return said


def unknown(head: Head, barcodes: Barcodes) -> list[str]:
    """Settings that head or barcodes do not tell, so that they cannot be compared."""
    pairs = _pairs(head, barcodes)
    if "single cell" in pairs["cells"]:
        del pairs["field_of_view_um"]  # which those have of their own
    return [SETTINGS[key] for key, pair in pairs.items() if None in pair]


def unchecked(head: Head, barcodes: Barcodes) -> list[str]:
    """All that could not be checked for some patient."""
    facts = barcodes.facts
    measured = [False] * len(FACTS)
    if facts is not None:
        measured = [bool(np.isfinite(column).all()) for column in facts.T]
    found = [] if head.sae_sha256 and barcodes.sae_sha256 else ["SAE"]
    found += unknown(head, barcodes)
    if not np.isfinite(barcodes.n_cells).all():
        found.append("number of cells")
    found += [
        name
        for name, there in zip(FACTS, measured, strict=True)
        if not there or name not in head.ranges
    ]
    return found


def _pairs(head: Head, barcodes: Barcodes) -> dict[str, tuple[Any, Any]]:
    """What the head's training and the barcodes have of each of `SETTINGS`, or None."""
    parameters = barcodes.record.get("parameters")
    given = parameters if isinstance(parameters, dict) else {}
    return {key: (head.about.get(key), _plain(given.get(key))) for key in SETTINGS}


def _plain(value: Any) -> Any:
    return None if value is None else np.asarray(value).item()


def _counted(included: bool) -> str:
    return "counted" if included else "not counted"

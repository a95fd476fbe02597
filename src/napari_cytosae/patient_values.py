"""Frozen values of step 4: what `PatientSession` holds and announces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PatientImage:
    """An image of a patient.

    Attributes
    ----------
    name : str
    path : str
        Empty for a layer without a file.
    layer : str
        Identity of the layer, where it is open in the viewer and has no file.
    """

    name: str
    path: str = ""
    layer: str = ""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is left out to see what then.

    Attributes
    ----------
    concepts : frozenset of int
    cells : frozenset of int
        Positions in `Reading.rows`.
    """

    concepts: frozenset[int] = frozenset()
    cells: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.concepts or self.cells)

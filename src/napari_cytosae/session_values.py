"""The frozen values a session is made of: what is chosen, selected and shown."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.types import CellKind

Step = Literal["models", "cells", "concepts", "patient"]
StepState = Literal["todo", "done", "attention"]
Scope = Literal[
    "image", "cells", "patch", "like", "wbc", "rbc", "platelet", "accepted", "patient"
]
Verdict = Literal["", "accept", "reject"]
Source = Literal["image", "all", "catalogue"]
"""Whose cells a gallery shows."""
Shows = Literal["smear", "single_cell", "labels"]
Place = tuple[str, int]
"""A cell of some image: the image's sha256, and the cell's id."""

OVERLAY_COLOURS: tuple[str, ...] = ("cyan", "yellow", "lime", "magenta")
"""One per overlay slot; told apart by colour-blind eyes, on pink and on violet."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models an analyst picked, loaded or not.

    Attributes
    ----------
    backbone, sae : str
        Registered names, hub ids or paths.
    device, precision : str
        ``auto`` or what `load_models` takes.
    """

    backbone: str = "starter"
    sae: str = "starter"
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True, slots=True)
class CellSettings:
    """How the cells of an image are to be found and cropped.

    Attributes
    ----------
    shows : Shows
        A smear to segment, one cell, or cells that a Labels layer already marks.
    kinds : tuple of CellKind
        Cells to look for in a smear.
    field_of_view_um : float
        Side of a crop.
    """

    shows: Shows = "smear"
    kinds: tuple[CellKind, ...] = ("wbc",)
    field_of_view_um: float = 25.0

    def as_parameters(self) -> dict[str, Any]:
        """What ``run.json`` says of it."""
        if self.shows == "smear":
            return {"cells": "segmentation", "kinds": list(self.kinds)}
        return {"cells": self.shows.replace("_", " ")}


@dataclass(frozen=True, slots=True)
class Selection:
    """What the analyst looks at; canvas, table and gallery all show this one thing.

    Attributes
    ----------
    cell_ids : tuple of int
        Of the image in front.
    patch : (row, column) or None
        In the patch grid of the first selected cell's crop.
    concept : int or None
    elsewhere : tuple of Place
        Cells of other images that are picked together with them.
    """

    cell_ids: tuple[int, ...] = ()
    patch: tuple[int, int] | None = None
    concept: int | None = None
    elsewhere: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class TableView:
    """How the table of concepts is sorted, and what it lists.

    Attributes
    ----------
    column : str
        That it is sorted by.
    descending : bool
    keep : str
        Which concepts are left out.
    search : str
    before : (column, descending) or None
        How it was sorted before the order of what examples share, and will be again.
    picked : tuple of int or None
        Concepts that are listed alone.
    """

    column: str
    descending: bool
    keep: str
    search: str = ""
    before: tuple[str, bool] | None = None
    picked: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """One concept shown over the slide.

    Attributes
    ----------
    concept : int
    colour : str
    visible : bool
    opacity : float
        0 to 1, of the strongest activation.
    threshold : float
        Fraction (0 to 1) of the concept's scale below which nothing is drawn.
    smooth : bool
        Interpolate between patches; else each patch is one square.
    bar : bool
        Show the colour scale, in activation.
    """

    concept: int
    colour: str
    visible: bool = True
    opacity: float = 0.7
    threshold: float = 0.0
    smooth: bool = False
    bar: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """A change of how an overlay looks; what is None stays as it is."""

    visible: bool | None = None
    opacity: float | None = None
    threshold: float | None = None
    smooth: bool | None = None
    bar: bool | None = None

    def applied_to(self, overlay: Overlay) -> Overlay:
        """Return the changed overlay."""
        changes = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(overlay, **{k: v for k, v in changes.items() if v is not None})


def slot_of(overlays: Sequence[Overlay | None], concept: int) -> int | None:
    """Return the slot that shows a concept, or None."""
    for slot, overlay in enumerate(overlays):
        if overlay is not None and overlay.concept == concept:
            return slot
    return None


def placed(
    overlays: Sequence[Overlay | None], concept: int, slot: int
) -> tuple[Overlay | None, ...]:
    """Return the overlays with a concept in `slot`, in its colour, and nowhere else.

    A concept that was shown in another slot keeps its look.
    """
    here = slot_of(overlays, concept)
    shown = Overlay(concept, "") if here is None else overlays[here]
    assert shown is not None
    new = [None if index == here else overlay for index, overlay in enumerate(overlays)]
    new[slot] = replace(shown, colour=OVERLAY_COLOURS[slot])
    return tuple(new)

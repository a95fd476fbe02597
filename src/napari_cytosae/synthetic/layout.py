"""Where the cells of a slide lie: placed once, globally; any region is drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.synthetic.places import EDGE, Places
from napari_cytosae.synthetic.recipes import DRAWN
from napari_cytosae.synthetic.red_cells import RED_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.types import CellKind

CLUMPED = 0.3
"""Share of platelets that lie beside another."""

RBC_DIAMETER = (7.5, 0.45)
"""Mean and standard deviation, um (6 %)."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One cell of the layout; positions and diameter in um."""

    cell_id: int
    kind: CellKind
    cell_type: str
    y: float
    x: float
    diameter: float
    angle: float
    seed: tuple[int, int]


def diameter_of(kind: CellKind, cell_type: str, rng: np.random.Generator) -> float:
    """A diameter in um, within 2.5 standard deviations of the type's mean."""
    if kind == "wbc":
        mean, spread = DRAWN[cell_type].diameter
    elif kind == "rbc":
        mean, spread = RBC_DIAMETER
        if cell_type == "spherocyte":
            mean *= 0.85
    else:
        mean, spread = 2.5, 0.5
    return float(mean + spread * np.clip(rng.normal(), -2.5, 2.5))


def place_cells(
    seed: int,
    height: float,
    width: float,
    white: Sequence[str],
    n_rbc: int,
    n_platelets: int,
    *,
    crowding: float = 0.2,
    centre: str | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
) -> tuple[Placed, ...]:
    """Lay out a slide of `height` x `width` um.

    Parameters
    ----------
    seed : int
        Same arguments, same layout.
    height : float
        um.
    width : float
        um.
    white : sequence of str
        A type (see `recipes.WBC_TYPES`) for every white cell; they lie whole on the
        slide, unless `centre` takes the room.
    n_rbc, n_platelets : int
        With centres on the slide; those just outside come on top in proportion.
    crowding : float
        0 keeps red cells apart, 1 piles them into rouleaux.
    centre : str or None
        A cell type to lie in the middle, with id 1.
    shift : (float, float)
        How far it lies off the middle, um down and right.
    """
    rng = np.random.default_rng([seed, 0])
    places = Places(rng, height, width)
    cells: list[Placed] = []

    def add(
        kind: CellKind, cell_type: str, diameter: float, place: tuple[float, float]
    ) -> None:
        number = len(cells) + 1
        angle = float(rng.uniform(0, 2 * np.pi))
        cells.append(
            Placed(number, kind, cell_type, *place, diameter, angle, (seed, number + 1))
        )

    if centre is not None:
        kind = kind_of(centre)
        diameter = diameter_of(kind, centre, rng)
        middle = (height / 2 + shift[0], width / 2 + shift[1])
        places.put(*middle, diameter / 2)
        add(kind, centre, diameter, middle)
    for cell_type in white:
        diameter = diameter_of("wbc", cell_type, rng)
        border = diameter * 0.68 if centre is None else 0.0
        add("wbc", cell_type, diameter, places.find(diameter / 2, 1.5, border, tries=200))
    names, weights = list(RED_TYPES), np.array(list(RED_TYPES.values()))
    # Those outside are only there to be cut by the border.
    grown = (height + 2 * EDGE) * (width + 2 * EDGE) / (height * width)
    for outside, share in ((False, 1.0), (True, grown - 1)):
        kinds = rng.choice(len(names), round(n_rbc * share), p=weights / weights.sum())
        place = None
        for cell_type in (names[k] for k in kinds):
            diameter = diameter_of("rbc", cell_type, rng)
            step = diameter * rng.uniform(0.4, 1.0) if rng.random() < crowding else None
            gap = rng.uniform(-0.6 * crowding, 0.15) * diameter
            place = places.find(diameter / 2, gap, outside=outside, beside=place, step=step)
            add("rbc", cell_type, diameter, place)
        place = None
        for _ in range(round(n_platelets * share)):
            diameter = diameter_of("platelet", "platelet", rng)
            step = diameter * rng.uniform(0.9, 1.4) if rng.random() < CLUMPED else None
            place = places.find(diameter / 2, 0.3, outside=outside, beside=place, step=step)
            add("platelet", "platelet", diameter, place)
    return tuple(cells)


def kind_of(cell_type: str) -> CellKind:
    """Whether a cell type is a white cell, a red cell or a platelet.

    Raises
    ------
    ValueError
        For a type that is not drawn here.
    """
    if cell_type in DRAWN:
        return "wbc"
    if cell_type in RED_TYPES:
        return "rbc"
    if cell_type == "platelet":
        return "platelet"
    known = ", ".join([*DRAWN, *RED_TYPES, "platelet"])
    raise ValueError(f"There is no cell type {cell_type!r}; choose one of: {known}.")

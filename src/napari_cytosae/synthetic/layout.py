"""Where the cells of a slide lie: placed once, globally; any region is drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.synthetic.recipes import RECIPES
from napari_cytosae.synthetic.red_cells import RED_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.types import CellKind

EDGE = 6.0
"""um around the slide in which cells are placed too, so that its border cuts some."""

BUCKET = 24.0
"""Side of the hash grid's squares, um: no two cells farther apart can touch."""

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


class _Places:
    """Finds room for discs: dart throwing over a hash grid."""

    def __init__(self, rng: np.random.Generator, height: float, width: float) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.taken: dict[tuple[int, int], list[tuple[float, float, float]]] = {}

    def put(self, y: float, x: float, radius: float) -> None:
        self.taken.setdefault((int(y // BUCKET), int(x // BUCKET)), []).append(
            (y, x, radius)
        )

    def room(self, y: float, x: float, radius: float) -> float:
        """Gap to the nearest disc, um; negative where they overlap."""
        gap, by, bx = np.inf, int(y // BUCKET), int(x // BUCKET)
        for ky in range(by - 1, by + 2):
            for kx in range(bx - 1, bx + 2):
                for oy, ox, other in self.taken.get((ky, kx), ()):
                    gap = min(gap, ((y - oy) ** 2 + (x - ox) ** 2) ** 0.5 - radius - other)
        return gap

    def find(
        self, radius: float, gap: float, border: float, tries: int = 16
    ) -> tuple[float, float]:
        """A place at least `gap` from all others and `border` inside, or the best found."""
        best, place = -np.inf, (0.0, 0.0)
        low_y, high_y = sorted((border, self.height - border))
        low_x, high_x = sorted((border, self.width - border))
        for _ in range(tries):
            y = self.rng.uniform(low_y, high_y)
            x = self.rng.uniform(low_x, high_x)
            room = self.room(y, x, radius)
            if room > best:
                best, place = room, (y, x)
            if room >= gap:
                break
        self.put(*place, radius)
        return place

    def beside(
        self, y: float, x: float, radius: float, step: float
    ) -> tuple[float, float] | None:
        """A place `step` from a disc that crowds nothing else, or None."""
        for _ in range(6):
            angle = self.rng.uniform(0, 2 * np.pi)
            place = (y + step * np.sin(angle), x + step * np.cos(angle))
            if self.room(*place, radius) > -1.3 * radius:
                self.put(*place, radius)
                return place
        return None


def diameter_of(kind: CellKind, cell_type: str, rng: np.random.Generator) -> float:
    """A diameter in um, within 2.5 standard deviations of the type's mean."""
    if kind == "wbc":
        mean, spread = RECIPES[cell_type].diameter
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
        A cell type to lie in the very middle, with id 1.
    """
    rng = np.random.default_rng([seed, 0])
    places = _Places(rng, height, width)
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
        places.put(height / 2, width / 2, diameter / 2)
        add(kind, centre, diameter, (height / 2, width / 2))
    for cell_type in white:
        diameter = diameter_of("wbc", cell_type, rng)
        border = diameter * 0.62 if centre is None else 0.0
        add("wbc", cell_type, diameter, places.find(diameter / 2, 1.5, border, tries=200))
    grown = (height + 2 * EDGE) * (width + 2 * EDGE) / (height * width)
    names, weights = list(RED_TYPES), np.array(list(RED_TYPES.values()))
    kinds = rng.choice(len(names), round(n_rbc * grown), p=weights / weights.sum())
    place: tuple[float, float] | None
    last: tuple[float, float] | None = None
    for cell_type in (names[k] for k in kinds):
        diameter = diameter_of("rbc", cell_type, rng)
        place = None
        if last is not None and rng.random() < crowding:
            place = places.beside(*last, diameter / 2, diameter * rng.uniform(0.4, 1.0))
        if place is None:
            gap = rng.uniform(-0.6 * crowding, 0.15) * diameter
            place = places.find(diameter / 2, gap, -EDGE)
        last = place
        add("rbc", cell_type, diameter, place)
    clump: tuple[float, float] | None = None
    for _ in range(round(n_platelets * grown)):
        diameter = diameter_of("platelet", "platelet", rng)
        place = None
        if clump is not None and rng.random() < 0.3:
            place = places.beside(*clump, diameter / 2, diameter * rng.uniform(0.9, 1.4))
        if place is None:
            place = places.find(diameter / 2, 0.3, -EDGE)
        clump = place
        add("platelet", "platelet", diameter, place)
    return tuple(cells)


def kind_of(cell_type: str) -> CellKind:
    """Whether a cell type is a white cell, a red cell or a platelet.

    Raises
    ------
    ValueError
        For a type that is not drawn here.
    """
    if cell_type in RECIPES:
        return "wbc"
    if cell_type in RED_TYPES:
        return "rbc"
    if cell_type == "platelet":
        return "platelet"
    known = ", ".join([*RECIPES, *RED_TYPES, "platelet"])
    raise ValueError(f"There is no cell type {cell_type!r}; choose one of: {known}.")

"""Room for cells on a slide: dart throwing over a hash grid."""

from __future__ import annotations

import numpy as np

EDGE = 6.0
"""um around the slide in which cells are placed too, so that its border cuts some."""

BUCKET = 24.0
"""Side of the hash grid's squares, um: no two cells farther apart can touch."""


class Places:
    """The places taken so far on a slide of `height` x `width` um."""

    def __init__(self, rng: np.random.Generator, height: float, width: float) -> None:
        self._rng, self._size = rng, (height, width)
        self._taken: dict[tuple[int, int], list[tuple[float, float, float]]] = {}

    def put(self, y: float, x: float, radius: float) -> None:
        """Take a place."""
        bucket = (int(y // BUCKET), int(x // BUCKET))
        self._taken.setdefault(bucket, []).append((y, x, radius))

    def room(self, y: float, x: float, radius: float) -> float:
        """Gap to the nearest disc, um; negative where they overlap."""
        gap, by, bx = np.inf, int(y // BUCKET), int(x // BUCKET)
        for ky in range(by - 1, by + 2):
            for kx in range(bx - 1, bx + 2):
                for oy, ox, other in self._taken.get((ky, kx), ()):
                    gap = min(gap, ((y - oy) ** 2 + (x - ox) ** 2) ** 0.5 - radius - other)
        return gap

    def find(
        self,
        radius: float,
        gap: float,
        border: float = 0.0,
        *,
        outside: bool = False,
        beside: tuple[float, float] | None = None,
        step: float | None = None,
        tries: int = 16,
    ) -> tuple[float, float]:
        """Find a place and take it.

        Parameters
        ----------
        radius : float
            Of the disc, um.
        gap : float
            Free um around it (negative: overlap) that end the search; the roomiest place
            seen is taken where none has them.
        border : float
            um inside the slide's edge.
        outside : bool
            Look in the strip of `EDGE` um around the slide instead.
        beside : (float, float) or None
            Another disc's place, to lie `step` um away from.
        step : float or None
            None: anywhere.
        tries : int
            Places to look at.
        """
        if beside is not None and step is not None:
            for _ in range(6):
                angle = self._rng.uniform(0, 2 * np.pi)
                y, x = beside[0] + step * np.sin(angle), beside[1] + step * np.cos(angle)
                if (
                    self._inside(y, x) != outside
                    and self.room(y, x, radius) > -1.3 * radius
                ):
                    self.put(y, x, radius)
                    return y, x
        best, place = -np.inf, (0.0, 0.0)
        for _ in range(tries):
            y, x = self._throw(-EDGE if outside else border, outside)
            room = self.room(y, x, radius)
            if room > best:
                best, place = room, (y, x)
            if room >= gap:
                break
        self.put(*place, radius)
        return place

    def _inside(self, y: float, x: float) -> bool:
        return 0 <= y < self._size[0] and 0 <= x < self._size[1]

    def _throw(self, border: float, outside: bool) -> tuple[float, float]:
        while True:
            place = []
            for side in self._size:
                # Sorted, for a slide smaller than its cells.
                low, high = sorted((border, side - border))
                place.append(float(self._rng.uniform(low, high)))
            y, x = place
            if not (outside and self._inside(y, x)):
                return y, x

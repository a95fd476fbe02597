"""Shapes of nuclei, as depth fields in um (see `shapes`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.synthetic import shapes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from napari_cytosae.core.types import Float32Array

    NucleusShape: TypeAlias = Callable[
        [Float32Array, Float32Array, float, np.random.Generator], Float32Array
    ]
# Each shape takes y, x (um from the cell's centre), the cell's radius and a Generator.

LOBE_WAVES = (0.07, 0.05, 0.03)
"""Spread of the harmonics that bend a lobe's outline."""


def segmented(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """Two to five lobes on a bent line, joined by filaments (neutrophil)."""
    lobes = int(rng.choice([2, 3, 4, 5], p=[0.18, 0.45, 0.30, 0.07]))
    size = {2: 0.39, 3: 0.34, 4: 0.30, 5: 0.27}[lobes]
    return _lobed(y, x, radius, lobes, size, rng)


def bilobed(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """Two, seldom three, full lobes facing each other (eosinophil)."""
    lobes = 3 if rng.random() < 0.18 else 2
    return _lobed(y, x, radius, lobes, 0.41 if lobes == 2 else 0.35, rng)


def _lobed(
    y: Float32Array,
    x: Float32Array,
    radius: float,
    lobes: int,
    size: float,
    rng: np.random.Generator,
) -> Float32Array:
    # The nucleus is one bent rod: its lobes sit on an arc round a point near the middle,
    # some pressed together, some far apart with a filament between.
    widths = size * radius * rng.uniform(0.78, 1.18, lobes)
    reach = max(0.52, 0.6 - 0.02 * lobes) * radius * rng.uniform(0.75, 1.05, lobes)
    gaps = rng.uniform(0.72, 1.25, lobes - 1)
    steps = gaps * (widths[1:] + widths[:-1]) / (0.5 * (reach[1:] + reach[:-1]))
    turn = rng.uniform(0, 2 * np.pi) + np.concatenate([[0.0], np.cumsum(steps)])
    centres = np.stack([reach * np.sin(turn), reach * np.cos(turn)], 1)
    centres += rng.normal(0, 0.06 * radius, 2) - 0.5 * centres.mean(0)
    depth: Float32Array | None = None
    for (cy, cx), width, angle in zip(centres, widths, turn, strict=True):
        dy, dx = shapes.rotate(
            y - np.float32(cy), x - np.float32(cx), angle + rng.normal(0, 0.5)
        )
        long = np.float32(rng.uniform(0.92, 1.18))
        lobe = shapes.blob(dy * long, dx / long, width, rng.normal(0, LOBE_WAVES), rng)
        depth = lobe if depth is None else shapes.union(depth, lobe, 0.06 * radius)
    assert depth is not None
    filament = rng.choice([0.05, 0.09, 0.16], lobes, p=[0.4, 0.4, 0.2]) * radius
    return shapes.union(depth, shapes.tube(y, x, centres, filament), 0.1 * radius)


def band(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """A sausage bent to a C, U or S, without filaments (band neutrophil)."""
    y, x = shapes.warp(y, x, 0.03 * radius, 0.8 * radius, rng)
    t = np.linspace(-1, 1, 9)
    start = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.75:
        turn = start + t * rng.uniform(1.3, 2.4)
        reach = radius * rng.uniform(0.44, 0.56)
        points = np.stack([reach * np.sin(turn), reach * np.cos(turn)], 1)
    else:
        sway = 0.3 * radius * np.sin(t * np.pi * rng.uniform(0.8, 1.1))
        along = 0.62 * radius * t
        c, s = np.cos(start), np.sin(start)
        points = np.stack([along * s + sway * c, along * c - sway * s], 1)
    radii = radius * rng.uniform(0.21, 0.28) * (1 + 0.2 * t**2 + rng.normal(0, 0.06, 9))
    return shapes.tube(y, x, points, radii)


def round_nucleus(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """Round to oval, off the middle, sometimes with a nick (lymphocyte, erythroblast)."""
    size = radius * rng.uniform(0.72, 0.9)
    return _round(y, x, radius, size, rng, nick=0.35)


def small_round(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """Round with plenty of cytoplasm beside it (large lymphocyte, late erythroblast)."""
    return _round(y, x, radius, radius * rng.uniform(0.52, 0.72), rng, nick=0.3)


def large_round(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """Filling most of the cell, gently bent (blast, promyelocyte)."""
    return _round(y, x, radius, radius * rng.uniform(0.68, 0.86), rng, nick=0.25)


def smeared(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """Burst and spread out, with ragged edges (smudge cell)."""
    y, x = shapes.warp(y, x, 0.12 * radius, 0.9 * radius, rng)
    waves = rng.normal(0, (0.14, 0.08, 0.06, 0.04))
    return shapes.blob(y, x, radius * rng.uniform(0.8, 0.95), waves, rng)


def eccentric(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """Small and round, pushed to the cell's edge (plasma cell)."""
    angle, size = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.46, 0.56)
    off = (radius - size) * rng.uniform(0.7, 0.95)
    dy, dx = y - np.float32(off * np.sin(angle)), x - np.float32(off * np.cos(angle))
    return shapes.blob(dy, dx, size, rng.normal(0, (0.05, 0.02, 0.01)), rng)


def _round(
    y: Float32Array,
    x: Float32Array,
    radius: float,
    size: float,
    rng: np.random.Generator,
    *,
    nick: float,
) -> Float32Array:
    free = max(radius - size - 0.25, 0.0)
    angle = rng.uniform(0, 2 * np.pi)
    off = free * rng.uniform(0.1, 1.0)
    dy, dx = y - np.float32(off * np.sin(angle)), x - np.float32(off * np.cos(angle))
    waves = rng.normal(0, (0.055, 0.03, 0.015, 0.01))
    depth = shapes.blob(dy, dx, size, waves, rng)
    if rng.random() < nick:
        side = rng.uniform(0, 2 * np.pi)
        at = size * rng.uniform(1.0, 1.2)
        notch = shapes.ellipse(
            dy,
            dx,
            (at * np.sin(side), at * np.cos(side)),
            (size * rng.uniform(0.2, 0.45), size * rng.uniform(0.12, 0.3)),
            side,
        )
        depth = shapes.without(depth, notch, 0.25 * size)
    return depth


def kidney(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """Kidney, horseshoe or folded, lobulated (monocyte)."""
    y, x = shapes.warp(y, x, 0.035 * radius, 1.1 * radius, rng)
    size = radius * rng.uniform(0.62, 0.76)
    angle = rng.uniform(0, 2 * np.pi)
    off = rng.uniform(0.0, 0.2) * radius
    dy, dx = y - np.float32(off * np.sin(angle)), x - np.float32(off * np.cos(angle))
    if rng.random() < 0.6:
        t = np.linspace(-1, 1, 7)
        turn = angle + t * rng.uniform(0.8, 1.9)
        reach = size * rng.uniform(0.45, 0.75)
        points = np.stack([reach * np.sin(turn), reach * np.cos(turn)], 1)
        thick = size * rng.uniform(0.42, 0.66)
        return shapes.tube(y, x, points, thick * (1 + 0.15 * t * rng.choice([-1, 1])))
    depth = shapes.blob(dy, dx, size, rng.normal(0, (0.09, 0.045, 0.025)), rng)
    for _ in range(rng.integers(1, 3)):
        side = angle + np.pi + rng.normal(0, 0.9)
        at, wide = size * rng.uniform(1.0, 1.3), size * rng.uniform(0.3, 0.5)
        centre = (at * np.sin(side), at * np.cos(side))
        notch = shapes.ellipse(dy, dx, centre, (wide, wide), 0.0)
        depth = shapes.without(depth, notch, 0.45 * size)
    return depth


def clover(
    y: Float32Array, x: Float32Array, radius: float, rng: np.random.Generator
) -> Float32Array:
    """Broad lobes run together, hard to make out under the granules (basophil)."""
    y, x = shapes.warp(y, x, 0.04 * radius, 0.8 * radius, rng)
    lobes = int(rng.integers(2, 4))
    turn = rng.uniform(0, 2 * np.pi) + np.arange(lobes) * (2 * np.pi / lobes)
    turn = turn + rng.normal(0, 0.3, lobes)
    depth: Float32Array | None = None
    for angle in turn:
        reach = radius * rng.uniform(0.28, 0.4)
        width = radius * rng.uniform(0.36, 0.46)
        centre = (reach * np.sin(angle), reach * np.cos(angle))
        axes = (width, width * rng.uniform(0.8, 1.1))
        lobe = shapes.ellipse(y, x, centre, axes, angle)
        depth = lobe if depth is None else shapes.union(depth, lobe, 0.25 * radius)
    assert depth is not None
    return depth

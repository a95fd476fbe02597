"""Red cells, platelets, and what else lies between the white cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.synthetic import shapes
from napari_cytosae.synthetic.stain import Dye, Stain
from napari_cytosae.synthetic.textures import grains, noise

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float32Array
    from napari_cytosae.synthetic.canvas import Canvas
    from napari_cytosae.synthetic.layout import Placed

RED_TYPES = {
    "discocyte": 0.80,
    "ovalocyte": 0.07,
    "target_cell": 0.03,
    "stomatocyte": 0.04,
    "spherocyte": 0.03,
    "echinocyte": 0.03,
}
"""Red cell types and how often they are met."""

HALO = 0.9
"""um outside a cell that its refracted edge reaches."""


def draw_red_cell(canvas: Canvas, cell: Placed, stain: Stain) -> None:
    """A biconcave disc, seen through its thickness."""
    rng = np.random.default_rng(cell.seed)
    radius = cell.diameter / 2
    window = canvas.window(cell.y, cell.x, radius * 1.45 + HALO)
    if window is None:
        return
    squeeze = {"ovalocyte": rng.uniform(0.62, 0.8), "stomatocyte": rng.uniform(0.85, 1)}
    flat = squeeze.get(cell.cell_type, rng.uniform(0.88, 1.0))
    y, x = shapes.rotate(window.y, window.x, cell.angle)
    y, x = y / np.float32(np.sqrt(flat)), x * np.float32(np.sqrt(flat))
    waves = rng.normal(0, (0.025, 0.028, 0.016, 0.009))
    theta = np.linspace(0, 2 * np.pi, shapes.ANGLES, endpoint=False)
    outline = np.ones(shapes.ANGLES)
    for k, wave in enumerate(waves, start=2):
        outline += wave * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    if cell.cell_type == "echinocyte":
        spines = rng.integers(12, 22)
        turn = spines * theta + 2.5 * np.sin(2 * theta + rng.uniform(0, 2 * np.pi))
        outline += 0.03 * np.cos(turn) * (1 + 0.5 * np.sin(3 * theta + rng.uniform(0, 6)))
    depth = shapes.polar(y, x, outline * radius)
    # Red cells give way to a white cell; beside it they keep their rounded edge.
    depth = np.minimum(depth, -canvas.white[window.area] - np.float32(0.1))
    thickness = _thickness(depth, y, x, radius, cell.cell_type, stain, rng)
    inside = shapes.cover(depth, canvas.sample * 1.4)
    hue = rng.normal(1.0, 0.07)
    amount = (
        inside * thickness * np.float32(0.25 * hue * stain.hemoglobin * (1 - stain.lysis))
    )
    canvas.add(window, Dye.HEMOGLOBIN, amount)
    if stain.lysis:
        rim = shapes.bump(depth, 0.25, 0.3)
        canvas.add(window, Dye.HEMOGLOBIN, rim * np.float32(0.10 * stain.lysis))
    refract(canvas, window.area, depth, stain.refraction)
    if rng.random() < 0.008 + stain.refraction * 0.6:
        _refractile_spot(canvas, window.area, y, x, depth, radius, rng)
    canvas.labels[window.area][depth > 0] = cell.cell_id


def _thickness(
    depth: Float32Array,
    y: Float32Array,
    x: Float32Array,
    radius: float,
    cell_type: str,
    stain: Stain,
    rng: np.random.Generator,
) -> Float32Array:
    """Relative thickness: a steep shoulder, thickest near the rim, thin in the middle."""
    shoulder = 1 - np.exp(
        -np.maximum(depth, 0) / np.float32(radius * rng.uniform(0.05, 0.11))
    )
    pallor = np.clip(stain.pallor * rng.normal(1, 0.15), 0, 0.95)
    width = rng.uniform(0.36, 0.52) * (0.75 + 0.5 * stain.pallor)
    offset = rng.normal(0, 0.07 * radius, 2)
    dy, dx = y - np.float32(offset[0]), x - np.float32(offset[1])
    if cell_type == "stomatocyte":
        dy, width, pallor = dy * np.float32(2.6), width * 1.2, max(pallor, 0.5)
    if cell_type == "spherocyte":
        pallor = 0.0
    rho = np.hypot(dy, dx) / np.float32(radius)
    steep = rng.uniform(2.4, 4.5)
    hollow = np.exp(-((rho / np.float32(width)) ** np.float32(steep)))
    if cell_type == "target_cell":
        hollow = shapes.bump(rho, 0.52, 0.2)
        pallor = max(pallor, 0.55)
    return np.asarray(shoulder * (1 - np.float32(pallor) * hollow), np.float32)


def _refractile_spot(
    canvas: Canvas,
    area: tuple[slice, slice],
    y: Float32Array,
    x: Float32Array,
    depth: Float32Array,
    radius: float,
    rng: np.random.Generator,
) -> None:
    """A drying artefact: a bright bubble with a dark rim, inside the red cell."""
    cy, cx = rng.normal(0, 0.35 * radius, 2)
    spot = shapes.ellipse(
        y, x, (cy, cx), tuple(rng.uniform(0.25, 0.7, 2)), rng.uniform(0, np.pi)
    )
    spot = np.minimum(spot, depth - np.float32(0.4))
    dark, bright = rng.uniform(0.08, 0.3), rng.uniform(0.1, 0.25)
    canvas.dyes[Dye.NEUTRAL][area] += np.float32(dark) * shapes.bump(spot, 0.0, 0.22)
    canvas.dyes[Dye.HEMOGLOBIN][area] *= 1 - np.float32(3 * bright) * shapes.cover(
        spot - np.float32(0.1), 0.2
    )


def refract(
    canvas: Canvas, area: tuple[slice, slice], depth: Float32Array, amount: float
) -> None:
    """The dark line and the bright fringe where light bends at a cell's edge."""
    if amount <= 0:
        return
    line = shapes.bump(depth, 0.05, 0.2) - np.float32(0.5) * shapes.bump(depth, -0.4, 0.28)
    canvas.dyes[Dye.NEUTRAL][area] += np.float32(amount) * line


def draw_platelet(canvas: Canvas, cell: Placed, stain: Stain) -> None:
    """A small pale-blue disc with purple granules gathered in the middle."""
    rng = np.random.default_rng(cell.seed)
    radius = cell.diameter / 2
    window = canvas.window(cell.y, cell.x, radius * 1.8 + HALO)
    if window is None:
        return
    y, x = shapes.rotate(window.y, window.x, cell.angle)
    waves = rng.normal(0, (0.14, 0.09, 0.06, 0.04))
    depth = shapes.blob(y, x, radius, waves, rng)
    depth = np.minimum(depth, -canvas.white[window.area] - np.float32(0.1))
    inside = shapes.cover(depth, 0.35)
    distance, value = grains(y, x, rng.uniform(0.32, 0.5), rng)
    middle = np.exp(-((np.hypot(y, x) / np.float32(radius * 0.75)) ** 2))
    granules = shapes.cover(np.float32(0.16) - distance, 0.15) * (value < 0.7) * middle
    canvas.add(window, Dye.AZURE, inside * np.float32(0.06 * stain.cytoplasm))
    depth_of_colour = np.float32(stain.nucleus * rng.uniform(0.6, 1.2))
    purple = np.float32(0.04) + np.float32(0.28) * granules + np.float32(0.14) * middle
    canvas.add(window, Dye.PURPLE, (inside * purple * depth_of_colour).astype(np.float32))
    refract(canvas, window.area, depth, stain.refraction * 0.5)
    canvas.labels[window.area][depth > 0] = cell.cell_id


def draw_background(canvas: Canvas, stain: Stain, seed: int) -> None:
    """Stained plasma, uneven over tens of um, and grains of precipitate."""
    rng = np.random.default_rng([seed, 1])
    window = canvas.everything()
    cloud = 1 + np.float32(0.4) * noise(window.y, window.x, 30.0, rng)
    if stain.plasma > 0:
        canvas.add(window, Dye.EOSIN, cloud * np.float32(stain.plasma))
        canvas.add(window, Dye.AZURE, cloud * np.float32(stain.plasma * 0.6))
    if stain.precipitate > 0:
        spacing = 2.0
        distance, value = grains(window.y, window.x, spacing, rng)
        share = min(stain.precipitate * spacing**2 / 1000, 1.0)
        size = np.float32(0.12) + np.float32(0.4) * (value / np.float32(share)) ** 3
        dirt = shapes.cover(size - distance, 0.15) * (value < share)
        canvas.add(window, Dye.PURPLE, dirt * np.float32(0.9))
        canvas.add(window, Dye.AZURE, dirt * np.float32(0.5))

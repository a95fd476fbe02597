"""A drawn slide segmented tile by tile: cells found, memory, speed, and how both grow.

    python benchmarks/slides.py                     # 1, 4, 25, 100 and 400 Mpx
    python benchmarks/slides.py --sides 1000 4000   # quicker

The slide repeats one drawn field in mirror images, so that it is continuous, its cells are
known and nothing of it has to be stored: a tile is put together when it is read. Every size
runs in a fresh process; memory is the most that process held (Linux), speed is CPU time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

from napari_cytosae.core.slides import segment_tiles
from napari_cytosae.synthetic import make_slide

UM = 0.25
FIELD = 1000
WBC = {"neutrophil": 4, "lymphocyte": 3, "monocyte": 1, "eosinophil": 1}
APART = 60
"""How far (px) white cells stay from the edges of the field, where mirroring joins them."""


class Mirrored:
    """A field repeated in mirror images up to `side`, made where it is sliced."""

    def __init__(self, field: np.ndarray, side: int) -> None:
        self._field = field
        self.shape = (side, side, 3)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        index = []
        for part, length in zip(key, self.shape, strict=False):
            at = np.arange(*part.indices(length)) % (2 * FIELD)
            index.append(np.where(at < FIELD, at, 2 * FIELD - 1 - at))
        return self._field[np.ix_(*index)]


def draw() -> tuple[np.ndarray, int]:
    """A field whose white cells all lie well inside, and how many they are."""
    for seed in range(1000):
        slide = make_slide((FIELD, FIELD), UM, seed, WBC, n_rbc=400)
        white = [cell for cell in slide.cells if cell.kind == "wbc"]
        at = np.array([(cell.y, cell.x) for cell in white]) / UM
        if at.min() > APART and at.max() < FIELD - APART:
            return slide.render().rgb, len(white)
    raise SystemExit("no field without cells at its edge was drawn")


def measure(side: int, kinds: tuple[str, ...]) -> None:
    field, count = draw()
    expected = count * (side // FIELD) ** 2
    start = time.process_time()
    white = every = 0
    for tile in segment_tiles(Mirrored(field, side), UM, kinds):
        every += len(tile.cells)
        white += int((tile.cells.table.kind == "wbc").sum())
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    mpx = side**2 / 1e6
    print(
        f"{mpx:7.1f} Mpx: {white} of {expected} white cells "
        f"({100 * (white / expected - 1):+.2f} %), {every} cells in all, "
        f"{seconds:.1f} s CPU, {mpx / seconds:.2f} Mpx/s, {peak:.2f} GB at most",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sides", type=int, nargs="*", default=[1000, 2000, 5000, 10000, 20000]
    )
    parser.add_argument("--kinds", default="wbc")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one, tuple(arguments.kinds.split(",")))
        return
    for side in arguments.sides:
        command = [sys.executable, __file__, "--one", str(side), "--kinds", arguments.kinds]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

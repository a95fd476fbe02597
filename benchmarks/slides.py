"""A drawn slide on disk segmented tile by tile: cells, seams, memory, speed, and growth.

    python benchmarks/slides.py                     # 1, 4, 16, 64 and 400 Mpx
    python benchmarks/slides.py --sides 1000 4000   # quicker

Each slide is drawn piece by piece into a tiled, compressed OME-TIFF in a temporary folder
(20,000 x 20,000 px: 0.7 GB, some minutes), always the same, with a place known for every
cell. Then a fresh process runs ``napari-cytosae segment`` on it. Memory is the most that
process held (Linux), speed that of the whole command: reading, segmenting, writing. White
cells found within 4 um of a drawn one are that cell; at a seam means within 4 um of one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from scipy.spatial import KDTree

from napari_cytosae.core.slides import TILE
from napari_cytosae.synthetic import make_slide

UM = 0.25
PIECE = 1024
WBC_PER_MM2 = 180
RED_PER_MM2 = 4000
NEAR_UM = 4.0
SHARES = {"neutrophil": 0.55, "lymphocyte": 0.27, "monocyte": 0.11, "eosinophil": 0.07}


def draw(side: int, path: Path) -> np.ndarray:
    """Write the slide and return the places (n, 2: y, x) of its white cells."""
    mm2 = (side * UM / 1000) ** 2
    wbc = {name: max(1, round(WBC_PER_MM2 * mm2 * share)) for name, share in SHARES.items()}
    slide = make_slide((side, side), UM, 7, wbc=wbc, n_rbc=round(RED_PER_MM2 * mm2))

    def pieces():
        for y in range(0, side, PIECE):
            for x in range(0, side, PIECE):
                bottom, right = min(y + PIECE, side), min(x + PIECE, side)
                rgb = slide.region(y, x, bottom, right)[0]
                whole = np.full((PIECE, PIECE, 3), 255, np.uint8)
                whole[: rgb.shape[0], : rgb.shape[1]] = rgb
                yield whole

    tifffile.imwrite(
        path,
        pieces(),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(PIECE, PIECE),
        photometric="rgb",
        compression="zlib",
        bigtiff=True,
        ome=True,
        metadata={"axes": "YXS", "PhysicalSizeX": UM, "PhysicalSizeXUnit": "µm"},
    )
    places = [(c.y / UM, c.x / UM) for c in slide.cells if c.kind == "wbc"]
    return np.array([p for p in places if min(p) >= 0 and max(p) < side])


def measure(side: int, kinds: str, folder: Path) -> None:
    path = folder / f"{side}.ome.tif"
    places = draw(side, path)
    command = [sys.executable, __file__, "--segment", str(path), "--kinds", kinds]
    start = time.perf_counter()
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds = time.perf_counter() - start
    cpu, peak = map(float, told.split()[-2:])
    results = folder / f"{side}.ome"
    found = pd.read_csv(results / "cells.csv")
    white = found[found.kind == "wbc"]
    at = white[["centroid_y", "centroid_x"]].to_numpy()
    near = KDTree(at).query_ball_point(places, NEAR_UM / UM, return_length=True)
    invented = KDTree(places).query_ball_point(at, NEAR_UM / UM, return_length=True) == 0
    inside = np.arange(TILE, side, TILE)
    away = np.abs(places[:, :, None] - inside).min(axis=(1, 2), initial=np.inf)
    at_seam = near[away < NEAR_UM / UM]
    pixels = np.bincount(tifffile.imread(results / "cells.tif").ravel())
    cut = np.abs(pixels[found.cell_id] / found.area_px - 1) > 0.02
    mpx = side**2 / 1e6
    print(
        f"{mpx:.0f} Mpx: {len(white)} white cells found, {len(places)} drawn "
        f"({100 * (len(white) / len(places) - 1):+.2f} %): {np.sum(near == 0)} missed, "
        f"{np.sum(near > 1)} doubled, {invented.sum()} invented; of {len(at_seam)} at a "
        f"seam {np.sum(at_seam != 1)} missed or doubled; {cut.sum()} of {len(found)} cut "
        f"in the label image; {seconds:.0f} s, {cpu:.0f} s CPU, {mpx / cpu:.2f} Mpx a CPU "
        f"second, {peak:.2f} GB at most",
        flush=True,
    )
    path.unlink()


def segment(path: Path, kinds: str) -> None:
    """Run the command in this process, and say its CPU time (s) and memory (GB)."""
    from napari_cytosae.cli import app

    start = time.process_time()
    app(
        ["segment", str(path), "-o", str(path.parent), "--kinds", kinds],
        standalone_mode=False,
    )
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
    print(time.process_time() - start, peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sides", type=int, nargs="*", default=[1000, 2000, 4000, 8000, 20000]
    )
    parser.add_argument("--kinds", default="wbc")
    parser.add_argument("--segment", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.segment:
        segment(arguments.segment, arguments.kinds)
        return
    with tempfile.TemporaryDirectory() as folder:
        for side in arguments.sides:
            measure(side, arguments.kinds, Path(folder))


if __name__ == "__main__":
    main()

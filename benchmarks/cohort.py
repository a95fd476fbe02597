"""A cohort by the command line: speed, memory, and what a kill -9 costs.

``python benchmarks/cohort.py [--cells 5000] [--patients 50] [--workers 2] [--run DIR]``

Draws single cells, an image each, and makes the barcodes of their patients with the
starter model. The run is killed with all its processes when a third is done, and started
again: no cell may be lost or counted twice.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from napari_cytosae.core._barcode_files import read_barcodes
from napari_cytosae.core.cohort import forget, partial_folder
from napari_cytosae.core.files import atomic_file
from napari_cytosae.synthetic import WBC_TYPES, render_cell


def draw(job: tuple[Path, int]) -> None:
    """One cell, unless it is there."""
    path, seed = job
    if not path.exists():
        cell = render_cell(WBC_TYPES[seed % len(WBC_TYPES)], seed, field_of_view_um=25)
        # Half a file, of a benchmark that was stopped, would be a cell lost in the next.
        with atomic_file(path) as temporary:
            Image.fromarray(cell.rgb).save(temporary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--run", type=Path, default=Path("runs/cohort"))
    arguments = parser.parse_args()
    folder, n = arguments.run, arguments.cells
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(folder / f"{seed}.png", seed) for seed in range(n)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(draw, jobs, chunksize=20))
    manifest, output = folder / "manifest.csv", folder / "barcodes.h5ad"
    rows = [f"patient {seed % arguments.patients},{seed}.png" for seed in range(n)]
    manifest.write_text("\n".join(["patient,image", *rows]) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "napari_cytosae", "barcode", str(manifest)]
    command += ["-o", str(output), "--single-cell", "--workers", str(arguments.workers)]
    partial = partial_folder(output)
    forget(output)

    def finished() -> list[Path]:
        return list(partial.glob("[!.]*.npz"))

    # Cells of a patient lie together in units of 32 at most.
    units = sum(
        -(-len(range(p, n, arguments.patients)) // 32) for p in range(arguments.patients)
    )
    first = subprocess.Popen(command, start_new_session=True)
    while len(finished()) < units // 3:
        if first.poll() is not None:
            raise SystemExit("the run ended before a third was done: see above")
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    there = finished()
    kept = sum(len(np.load(path)["ok"]) for path in there)
    print(f"killed with {kept} of {n} cells finished", flush=True)
    began, loaded, left = time.perf_counter(), None, 0
    second = subprocess.Popen(command)
    while second.poll() is None:
        if loaded is None and (done := len(finished())) > len(there):
            loaded, left = time.perf_counter(), units - done
        time.sleep(0.2)
    took = time.perf_counter() - began
    assert second.returncode == 0, "the run that went on failed: see above"
    table = read_barcodes(output)
    counted = int(table.n_cells.sum())
    assert counted == n, f"{n} cells were drawn, {counted} counted"
    assert np.all(table.n_images == table.n_cells)
    rest = n - kept
    # What was done when the first new unit was seen is not of the time from then on.
    steady = rest * left / (units - len(there)) / (began + took - (loaded or began))
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    print(f"{n} cells of {arguments.patients} patients, none lost or doubled")
    print(f"{rest} cells in {took:.0f} s after the restart, {rest / took:.1f} cells/s")
    print(f"{steady:.1f} cells/s once the models are loaded, {arguments.workers} workers")
    print(f"largest process {largest:.2f} GB")


if __name__ == "__main__":
    main()

"""Do the intervals of a differential hold? Drawn patients, and counts by eye of the same.

``python benchmarks/differential.py [--patients 40]``

Cells of three types (60, 30 and 10 %), each with more of twenty of 400 concepts of its own:
``strength`` times as much. An analyst calls as many cells of each type; 200 cells are
counted. Printed is how often a new count of 100 or 200 cells by eye lies in its interval,
how often the true share does, and how wide that interval is; the aim is 0.95.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.sparse import csr_array

from napari_cytosae.core.differential import COUNTS, count_table, propose

SHARES = np.array([0.6, 0.3, 0.1])
NAMES = np.array(["neutrophil", "lymphocyte", "blast"])
BY_EYE = 20


def patient(seed: int, strength: float, cells: int = 200, concepts: int = 400):
    """Token counts, and the type of each cell."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, cells, p=SHARES)
    rates = np.full((3, concepts), 0.3)
    for label in range(3):
        rates[label, 20 * label : 20 * label + 20] *= strength
    return csr_array(rng.poisson(rates[truth]).astype(np.float32)), truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=40)
    arguments = parser.parse_args()
    print("strength  called  100 cells  200 cells  share  width  CPU s")
    for strength in (4, 2, 1.5, 1.2):
        for called in (6, 12):
            held = {total: [] for total in COUNTS}
            inside, widths, began = [], [], time.process_time()
            for seed in range(arguments.patients):
                counts, truth = patient(seed, strength)
                if np.bincount(truth).min() < called:
                    continue
                rng = np.random.default_rng(1000 + seed)
                rows = np.concatenate(
                    [
                        rng.choice(np.flatnonzero(truth == label), called, replace=False)
                        for label in range(3)
                    ]
                )
                known = {int(row): str(NAMES[truth[row]]) for row in rows}
                table = count_table(propose(counts, known)).set_index("type").loc[NAMES]
                inside += list((table["low"] <= SHARES) & (table["high"] >= SHARES))
                widths += list(table["high"] - table["low"])
                for total, found in held.items():
                    eye = rng.multinomial(total, SHARES, size=BY_EYE)
                    low, high = table[f"low_{total}"], table[f"high_{total}"]
                    found += list(((low.values <= eye) & (eye <= high.values)).ravel())
            spent = (time.process_time() - began) / arguments.patients
            print(
                f"{strength:8g}  {called:6d}  {np.mean(held[100]):9.3f}  "
                f"{np.mean(held[200]):9.3f}  {np.mean(inside):5.3f}  "
                f"{np.mean(widths):5.2f}  {spent:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Which concepts set a patient apart from a class? Three tests, by simulation.

``python benchmarks/class_null.py [--patients 40]``

Classes of drawn patients, whose concepts are skewed and absent in some; a further patient
of the class, as he is and with 20 concepts raised fourfold. For FDR 5 %: how many of
the class's own patients have any finding (the aim is 0.05 at most), the share of findings
that are false in changed ones (likewise), and how many of the 20 are found.

* ours: distances, p by those between the class's own patients (`core._class_null`);
* t: the same distances, p by the t distribution with n - 1 degrees of freedom (Crawford
  and Howell 1998, doi:10.1076/clin.12.4.482.7241);
* hurdle: the t test on square roots among the patients that show a concept, times their
  share.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from napari_cytosae.core._class_null import distances, null_tail, p_values

RAISED = 20
CLASSES = {
    "12 patients, shown by 20 %, very skewed": (12, 0.5, 0.2),
    "12 patients, shown by 80 %, very skewed": (12, 0.5, 0.8),
    "12 patients, shown by 50 %, skewed": (12, 3, 0.5),
    "12 patients, shown by all": (12, 20, 1.0),
    "40 patients, shown by 30 %, very skewed": (40, 0.5, 0.3),
    "6 patients, shown by 70 %, skewed": (6, 3, 0.7),
}


def hurdle(rows: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns that any shows, and p."""
    n = len(rows)
    shown = np.flatnonzero((x > 0) | (rows > 0).any(axis=0))
    root, z = np.sqrt(rows[:, shown]), np.sqrt(x[shown])
    m = (root > 0).sum(axis=0)
    mean = root.sum(axis=0) / np.maximum(m, 1)
    squares = np.maximum((root**2).sum(axis=0) - m * mean**2, 0)
    unit = np.sqrt(squares / np.maximum(m - 1, 1) * (1 + 1 / np.maximum(m, 1)))
    distance = np.abs(z - mean) / np.maximum(unit, 1e-12)
    p = 2 * stats.t.sf(distance, np.maximum(m - 1, 1))
    p[m < 3] = 1
    return shown, np.where(m == n, p, np.where(z > 0, (m + 0.5) / (n + 1) * p, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--concepts", type=int, default=1000)
    arguments = parser.parse_args()
    for name, (n, shape, share) in CLASSES.items():
        rng = np.random.default_rng(0)
        size = (n + arguments.patients, arguments.concepts)
        shares = rng.gamma(shape, 1, size) * (rng.random(size) < share)
        shares /= shares.sum(axis=1, keepdims=True)
        rows = shares[:n]
        mean, deviation = rows.mean(axis=0), rows.std(axis=0, ddof=1)
        tail, known = null_tail(rows)

        def ours(x, mean=mean, deviation=deviation, n=n, tail=tail, known=known):
            shown, distance, _ = distances(x, mean, deviation, n)
            return shown, p_values(distance, tail, known)

        def t_test(x, mean=mean, deviation=deviation, n=n):
            shown, distance, _ = distances(x, mean, deviation, n)
            return shown, 2 * stats.t.sf(np.abs(distance), n - 1)

        tests = {"ours": ours, "t": t_test, "hurdle": lambda x, rows=rows: hurdle(rows, x)}
        print(name)
        for test, p_of in tests.items():
            drawn = np.random.default_rng(1)
            own, false, right = [], [], []
            for x in shares[n:]:
                own.append((stats.false_discovery_control(p_of(x)[1]) <= 0.05).any())
                raised = drawn.choice(len(x), RAISED, replace=False)
                changed = x.copy()
                changed[raised] = 4 * (x + mean)[raised]
                shown, p = p_of(changed / changed.sum())
                sure = stats.false_discovery_control(p) <= 0.05
                hits = sure[np.isin(shown, raised)].sum()
                right.append(hits)
                false.append((sure.sum() - hits) / max(sure.sum(), 1))
            print(
                f"  {test:<7} any in own {np.mean(own):.2f}   false {np.mean(false):.3f}   "
                f"found {np.mean(right):.1f} of {RAISED}",
                flush=True,
            )


if __name__ == "__main__":
    main()

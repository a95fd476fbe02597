"""Which concepts do patients of a class show more than all others? Four tests.

``python benchmarks/class_concepts.py [--cohorts 12] [--data DIR [--seeds 5]]``

Cohorts of drawn patients whose concepts are skewed and absent in some, as they are and with
20 concepts raised threefold in the class. Printed, for FDR 5 %: how many cohorts without a
difference have any finding, the share of findings that are false where there are
differences (the aim is 0.05), and how many of the 20 are found. With ``--data``, findings
in the 126 patients of the published statistics (of ``benchmarks/heads.py``) instead, of
each class, and with the diagnoses shuffled: how often any, and how many on average; last,
how many are found by other shuffles of the labels, and how far those findings agree.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from heads import published
from scipy import sparse, stats

from napari_cytosae.core._label_null import label_tail
from napari_cytosae.core._profiles import profiles_of
from napari_cytosae.core._recipes import transformed
from napari_cytosae.core.class_comparison import more_in_class

RAISED = np.arange(20)
COHORTS = {
    "12 and 36 patients, shown by 20 %, very skewed": (12, 36, 0.5, 0.2),
    "12 and 36 patients, shown by 50 %, skewed": (12, 36, 3, 0.5),
    "12 and 36 patients, shown by all": (12, 36, 20, 1.0),
    "6 and 30 patients, shown by 20 %, very skewed": (6, 30, 0.5, 0.2),
    "26 and 100 patients, shown by 10 %, very skewed": (26, 100, 0.5, 0.1),
}


LIMIT = 0.05


def shuffled(a: np.ndarray, b: np.ndarray, seeds: int = 1) -> list[np.ndarray]:
    """Of `core.class_comparison`: columns found, with each of so many nulls."""
    labels, every = np.repeat([0, 1], [len(a), len(b)]), np.arange(len(a) + len(b))
    shares, columns = np.concatenate([a, b]), np.arange(a.shape[1])
    profiles, found = profiles_of(shares, labels, every, 2), []
    for seed in range(seeds):
        if seed:
            roots = sparse.csr_array(np.sqrt(shares))
            tail, size = label_tail(roots, labels, every, 0, seed)
            tails, sizes = np.array([tail, tail]), np.array([size, size])
            profiles = replace(profiles, label_tails=tails, label_sizes=sizes)
        table = more_in_class(profiles, 0, "a", columns).table
        found.append(table.index[table["fdr"] <= LIMIT].to_numpy())
    return found


def welch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of `core.class_comparison` for heads without shuffled labels, on any scale."""
    with np.errstate(all="ignore"):
        p = stats.ttest_ind(a, b, equal_var=False, axis=0).pvalue
    return np.nan_to_num(p, nan=1)


P_VALUES = {
    "Welch, shares": welch,
    "Welch, roots": lambda a, b: welch(np.sqrt(a), np.sqrt(b)),
    "ranks": lambda a, b: stats.mannwhitneyu(a, b, axis=0, method="asymptotic").pvalue,
}


def found_by(test: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Columns of which `a` shows more, at the FDR of `LIMIT`."""
    if test == "shuffled":
        return shuffled(a, b)[0]
    more = np.flatnonzero(a.mean(axis=0) > b.mean(axis=0))
    p = P_VALUES[test](a[:, more], b[:, more])
    return more[stats.false_discovery_control(p) <= LIMIT]


TESTS = (*P_VALUES, "shuffled")


def agreement(sets: list[set[int]]) -> float:
    """What two have in common, of what either has: on average over all pairs."""
    pairs = itertools.combinations(sets, 2)
    return float(np.mean([len(a & b) / len(a | b) if a | b else 1 for a, b in pairs]))


def real(folder: Path, shuffles: int, seeds: int) -> None:
    """Findings in the published patients."""
    barcodes = published(folder / "cytosae_published")
    shares = transformed(barcodes.values, "fraction").astype(np.float64)
    names = np.array(barcodes.diagnosis)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(names)) for _ in range(shuffles)]
    for test in TESTS:
        print(test)
        for name in np.unique(names):
            inside, start = names == name, time.process_time()
            true = len(found_by(test, shares[inside], shares[~inside]))
            cpu = time.process_time() - start
            null = [
                len(found_by(test, shares[inside[order]], shares[~inside[order]]))
                for order in orders
            ]
            print(
                f"  {name:<20}{inside.sum():>3} patients: {true:>5} found; shuffled: any "
                f"in {np.mean(np.array(null) > 0):.2f}, {np.mean(null):.1f} on average "
                f"(most {max(null)}); {cpu:.1f} s CPU",
                flush=True,
            )
    print("by other shuffles")
    for name in np.unique(names):
        sets = shuffled(shares[names == name], shares[names != name], seeds)
        print(
            f"  {name:<20}{', '.join(str(len(one)) for one in sets)} found; agreement "
            f"{agreement([set(one.tolist()) for one in sets]):.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=12)
    parser.add_argument("--concepts", type=int, default=800)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--shuffles", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.data is not None:
        real(arguments.data, arguments.shuffles, arguments.seeds)
        return
    for name, (n, m, shape, share) in COHORTS.items():
        found = {test: [] for test in TESTS}
        for seed in range(arguments.cohorts):
            rng = np.random.default_rng(seed)
            size = (n + m, arguments.concepts)
            x = rng.gamma(shape, 1, size) * (rng.random(size) < share)
            raised = x.copy()
            raised[:n, RAISED] = 3 * (x[:n, RAISED] + x[:, RAISED].mean(axis=0))
            tables = [one / one.sum(axis=1, keepdims=True) for one in (x, raised)]
            for test in TESTS:
                counts = []
                for table in tables:
                    sure = found_by(test, table[:n], table[n:])
                    counts.append((len(sure), int(np.isin(sure, RAISED).sum())))
                (null, _), (all_found, right) = counts
                false = (all_found - right) / max(all_found, 1)
                found[test].append((null > 0, false, right))
        print(name)
        for test, rows in found.items():
            null, false, right = np.mean(rows, axis=0)
            print(
                f"  {test:<14} any without a difference {null:.2f}   false {false:.3f}   "
                f"found {right:.1f} of {len(RAISED)}",
                flush=True,
            )


if __name__ == "__main__":
    main()

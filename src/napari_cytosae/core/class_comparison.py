"""Classes of a head, by their training patients: against one patient, and each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from napari_cytosae.core._bootstrap import bounds_of, replicate_shares
from napari_cytosae.core._class_null import distances, p_values
from napari_cytosae.core.comparison import Comparison, fdr_of, surest_first, table_of
from napari_cytosae.core.patients import barcode
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from scipy import sparse

    from napari_cytosae.core.heads import Head, Profiles
    from napari_cytosae.core.types import Float64Array, Int64Array


def with_class(
    head: Head, label: str, patient: str, counts: sparse.csr_array
) -> Comparison:
    """Compare a patient with a head's training patients of one class.

    Parameters
    ----------
    head : Head
        With `Head.profiles`.
    label : str
        One of its classes.
    patient : str
        Name.
    counts : csr_array, (n_cells, k)
        Token counts of the patient's cells, or the barcode as a single row; with the
        columns of `Head.columns`.

    Returns
    -------
    Comparison
        In shares of the barcode. The effect is the distance from the class's mean in its
        standard deviations; p is the share of such distances that are as large between
        the class's own patients (`_class_null`), NaN for a head that does not keep them.
        The interval is a bootstrap of the difference from the class's mean: the patient's
        cells are drawn again, and so is the mean, from the t distribution of its error.
        It is NaN for a single cell or a class of one patient.

    Raises
    ------
    CytoError
        If the head does not know the class, or keeps no profiles, or there is no cell.
    """
    index, profile = _profile(head, label)
    x = barcode(counts)
    x /= max(x.sum(), 1e-12)
    mean, deviation = profile.means[index], profile.deviations[index]
    n = int(profile.counts[index])
    shown, effect, _ = distances(x, mean, deviation, n)
    p = np.full(len(shown), np.nan)
    if profile.tails is not None and profile.sizes is not None:
        p = p_values(effect, profile.tails[index], int(profile.sizes[index]))
    low, high = np.full(len(shown), np.nan), np.full(len(shown), np.nan)
    if counts.shape[0] > 1 and n > 1:
        error = deviation[shown] / np.sqrt(n)
        rng = np.random.default_rng(1)
        for part, shares in replicate_shares(counts, shown):
            drawn = rng.standard_t(n - 1, shares.shape) * error[part, None]
            low[part], high[part] = bounds_of(
                shares - np.maximum(mean[shown][part, None] + drawn, 0)
            )
    found = pd.DataFrame(
        {
            "effect": effect,
            "p": p,
            "fdr": fdr_of(p),
        },
        index=pd.Index(head.concepts[shown], name="concept"),
    )
    table = table_of(x[shown], mean[shown], low, high, found)
    return Comparison(
        patient,
        f"{label} ({n} training patients)",
        head.concepts,
        x,
        mean,
        surest_first(table),
        "share of the barcode",
        "distance from the class's mean in standard deviations",
    )


def class_concepts(head: Head, label: str) -> Comparison:
    """Concepts that a head's training patients of one class show more than all others.

    Parameters
    ----------
    head : Head
        With `Head.profiles`.
    label : str
        One of its classes.

    Returns
    -------
    Comparison
        The class with the mean of the patients of the other classes, in shares of the
        barcode; only concepts that the class shows more are in the table. The effect is
        the difference in standard deviations, with the interval of Welch's t test over
        patients. p is that of the same test on square roots (on the shares themselves for a
        head that does not keep their roots): shares are skewed, as counts are, and their
        roots have nearly the same spread everywhere (Bartlett 1936, doi:10.2307/2983678).
        By simulation (``benchmarks/class_concepts.py``) the test of the shares finds next
        to nothing that few patients show, and the rank test has more false findings than
        it says.

    Raises
    ------
    CytoError
        If the head does not know the class, or keeps no profiles.
    """
    index, profile = _profile(head, label)
    both = _sides(profile.means, profile.deviations, profile.counts, index)
    (mean, deviation, n), (others, spread, m) = both
    shown = np.flatnonzero(mean > others)
    x, y, s, t = mean[shown], others[shown], deviation[shown], spread[shown]
    pooled = np.sqrt(((n - 1) * s**2 + (m - 1) * t**2) / max(n + m - 2, 1))
    # As in `with_class`: few patients that happen to be alike prove no small deviation.
    pooled = np.maximum(pooled, max(float(np.median(pooled)) if len(x) else 0.0, 1e-12))
    p = low = high = np.full(len(x), np.nan)
    if n > 1 and m > 1:
        error, freedom = _welch(s, n, t, m)
        reach = stats.t.ppf(0.975, freedom) * error
        low, high = x - y - reach, x - y + reach
        apart = x - y
        if profile.root_means is not None and profile.root_deviations is not None:
            (root, s, _), (other_root, t, _) = _sides(
                profile.root_means, profile.root_deviations, profile.counts, index
            )
            apart = (root - other_root)[shown]
            error, freedom = _welch(s[shown], n, t[shown], m)
        p = np.asarray(2 * stats.t.sf(np.abs(apart) / error, freedom))
    found = pd.DataFrame(
        {"effect": (x - y) / pooled, "p": p, "fdr": fdr_of(p)},
        index=pd.Index(head.concepts[shown], name="concept"),
    )
    return Comparison(
        f"{label} ({n} training patients)",
        f"all other classes ({m})",
        head.concepts,
        mean,
        others,
        surest_first(table_of(x, y, low, high, found)),
        "share of the barcode",
        "difference in standard deviations of the patients",
    )


_Side = tuple["Float64Array", "Float64Array", int]
"""Means, standard deviations, and of how many patients."""


def _sides(
    means: Float64Array, deviations: Float64Array, counts: Int64Array, index: int
) -> tuple[_Side, _Side]:
    """A class, and the patients of all others together."""
    rest = np.arange(len(counts)) != index
    each = counts[rest].astype(np.float64)[:, None]
    m = int(each.sum())
    others = (each * means[rest]).sum(axis=0) / m
    squares = (each - 1) * deviations[rest] ** 2 + each * (means[rest] - others) ** 2
    spread = np.sqrt(squares.sum(axis=0) / max(m - 1, 1))
    return (means[index], deviations[index], int(counts[index])), (others, spread, m)


def _welch(
    s: Float64Array, n: int, t: Float64Array, m: int
) -> tuple[Float64Array, Float64Array]:
    """Error of a difference of means, and its degrees of freedom (Welch 1947)."""
    error = np.maximum(np.hypot(s / np.sqrt(n), t / np.sqrt(m)), 1e-12)
    freedom = error**4 / ((s**2 / n) ** 2 / (n - 1) + (t**2 / m) ** 2 / (m - 1) + 1e-60)
    return error, freedom


def _profile(head: Head, label: str) -> tuple[int, Profiles]:
    if label not in head.classes or head.profiles is None:
        raise CytoError(f"The head knows no barcode of {label}: train it again.")
    return head.classes.index(label), head.profiles

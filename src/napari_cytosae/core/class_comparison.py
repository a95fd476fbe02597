"""Classes of a head, by their training patients: against one patient, and each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from napari_cytosae.core._bootstrap import bounds_of, replicate_shares
from napari_cytosae.core._class_null import LEAST_DEVIATION, distances, p_values
from napari_cytosae.core._label_null import excess, p_of
from napari_cytosae.core.comparison import Comparison, fdr_of, surest_first, table_of
from napari_cytosae.core.patient_cells import barcode
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
        standard deviations, NaN where none is known; p is the share of such distances that
        are as large between the class's own patients (`_class_null`), NaN for a head that
        does not keep them.
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
    shown, distance, unit = distances(x, mean, deviation, n)
    effect = np.where(unit > 2 * LEAST_DEVIATION, distance, np.nan)
    p = np.full(len(shown), np.nan)
    if profile.tails is not None and profile.sizes is not None:
        p = p_values(distance, profile.tails[index], int(profile.sizes[index]))
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
        f"{label} ({_patients(n)})",
        head.concepts,
        x,
        mean,
        surest_first(table),
        "shares of the barcode",
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
        Of `more_in_class`.

    Raises
    ------
    CytoError
        If the head does not know the class, or keeps no profiles.
    """
    index, profile = _profile(head, label)
    return more_in_class(profile, index, label, head.concepts)


def more_in_class(
    profile: Profiles, index: int, label: str, concepts: Int64Array
) -> Comparison:
    """Concepts that a class's patients show more than those of all other classes.

    Parameters
    ----------
    profile : Profiles
        Of all classes.
    index : int
        The class.
    label : str
        Its name.
    concepts : ndarray of int64, (k,)
        Of the profiles' columns.

    Returns
    -------
    Comparison
        The class with the mean of the patients of the other classes, in shares of the
        barcode; in the table are only concepts of which the class shows more, by its mean
        share and by its mean square root. The effect is the difference in standard
        deviations, with the interval of Welch's t test over patients; NaN where no
        deviation is known.

        p is one-sided, of the square roots: shares are skewed, as counts are, and their
        roots have nearly the same spread everywhere (Bartlett 1936, doi:10.2307/2983678).
        It is the share of concepts that have as much more when the patients' classes are
        shuffled (`_label_null`), and fdr is after Benjamini and Hochberg over all concepts
        that vary; both are NaN with fewer than three patients on a side.

        Profiles without that null distribution are of a head that was made without it,
        and the patients are gone: p is then that of Welch's t test, two-sided, on roots
        (on the shares themselves where roots are not kept, which finds next to nothing
        that few patients show, see ``benchmarks/class_concepts.py``).
    """
    both = _sides(profile.means, profile.deviations, profile.counts, index)
    (mean, deviation, n), (others, spread, m) = both
    more = mean > others
    roots = None
    if profile.root_means is not None and profile.root_deviations is not None:
        roots = _sides(profile.root_means, profile.root_deviations, profile.counts, index)
        more &= roots[0][0] > roots[1][0]
    shown = np.flatnonzero(more)
    x, y, s, t = mean[shown], others[shown], deviation[shown], spread[shown]
    pooled = np.sqrt(((n - 1) * s**2 + (m - 1) * t**2) / max(n + m - 2, 1))
    # As in `with_class`: few patients that happen to be alike prove no small deviation.
    pooled = np.maximum(pooled, float(np.median(pooled)) if len(x) else 0.0)
    effect = np.divide(x - y, pooled, out=np.full(len(x), np.nan), where=pooled > 0)
    p = fdr = low = high = np.full(len(x), np.nan)
    if n > 1 and m > 1:
        error, freedom = _welch(s, n, t, m)
        reach = stats.t.ppf(0.975, freedom) * error
        low, high = x - y - reach, x - y + reach
    if (
        profile.root_means is not None
        and profile.root_deviations is not None
        and profile.label_tails is not None
        and profile.label_sizes is not None
    ):
        each = (profile.root_means, profile.root_deviations, profile.counts)
        found = excess(*each)[index]
        every_p = p_of(found, profile.label_tails[index], int(profile.label_sizes[index]))
        varied = found != 0
        every_fdr = np.ones(len(found))
        every_fdr[varied] = fdr_of(every_p[varied])
        p, fdr = every_p[shown], every_fdr[shown]
    elif n > 1 and m > 1:
        p = _welch_p(both if roots is None else roots, shown)
        fdr = fdr_of(p)
    table = pd.DataFrame(
        {"effect": effect, "p": p, "fdr": fdr},
        index=pd.Index(concepts[shown], name="concept"),
    )
    return Comparison(
        f"{label} ({_patients(n)})",
        f"all other classes ({m})",
        concepts,
        mean,
        others,
        surest_first(table_of(x, y, low, high, table)),
        "shares of the barcode",
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


def _welch_p(both: tuple[_Side, _Side], shown: Int64Array) -> Float64Array:
    (mean, s, n), (others, t, m) = both
    error, freedom = _welch(s[shown], n, t[shown], m)
    p = 2 * stats.t.sf(np.abs(mean - others)[shown] / error, freedom)
    return np.asarray(p, dtype=np.float64)


def _welch(
    s: Float64Array, n: int, t: Float64Array, m: int
) -> tuple[Float64Array, Float64Array]:
    """Error of a difference of means, and its degrees of freedom (Welch 1947)."""
    error = np.maximum(np.hypot(s / np.sqrt(n), t / np.sqrt(m)), 1e-12)
    freedom = error**4 / ((s**2 / n) ** 2 / (n - 1) + (t**2 / m) ** 2 / (m - 1) + 1e-60)
    return error, freedom


def _patients(n: int) -> str:
    return f"{n} training patient{'' if n == 1 else 's'}"


def _profile(head: Head, label: str) -> tuple[int, Profiles]:
    if label not in head.classes or head.profiles is None:
        raise CytoError(f"The head knows no barcode of {label}: train it again.")
    return head.classes.index(label), head.profiles

"""Patients against patients and against diseases, checked against scipy."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_array

from napari_cytosae.core import class_comparison, comparison, enrichment, resemblance
from napari_cytosae.core._class_null import distances, null_tail, p_values
from napari_cytosae.core._label_null import STEPS, excess, label_tail, p_of
from napari_cytosae.core._profiles import profiles_of
from napari_cytosae.core.heads import train
from napari_cytosae.core.patient_cells import PatientCells
from napari_cytosae.core.patients import Barcodes, collect
from napari_cytosae.core.pipeline import run
from napari_cytosae.core.types import CytoError
from napari_cytosae.widgets._compare_controller import difference_bars

K = 60


def cells(n, seed, more=()):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.8, (n, K)).astype(np.float32)
    for concept in more:
        counts[:, concept] += rng.poisson(3, n)
    return csr_array(counts)


def cohort(n=12, seed=0):
    """Class b has more of concepts 3 and 4."""
    rng = np.random.default_rng(seed)
    values = rng.gamma(20, 1, (2 * n, K)).astype(np.float32)
    values[n:, 3:5] *= 4
    unknown = np.full(2 * n, np.nan)
    return Barcodes(
        tuple(f"p{i}" for i in range(2 * n)),
        csr_array(values),
        np.arange(K),
        unknown,
        unknown,
        unknown,
        tuple("a" * n + "b" * n),
    )


def test_two_patients():
    concepts = np.arange(K) + 100
    a, b = cells(80, 0, more=(7,)), cells(50, 1)
    found = comparison.between_patients(("A", a), ("B", b), concepts)
    assert list(found.table.columns) == list(comparison.COLUMNS)
    assert found.table.index[0] == 107
    row = found.table.loc[107]
    x, y = a.toarray()[:, 7], b.toarray()[:, 7]
    test = stats.mannwhitneyu(x, y, method="asymptotic")
    assert row["effect"] == pytest.approx(2 * test.statistic / (80 * 50) - 1)
    assert row["p"] == pytest.approx(test.pvalue, rel=1e-6)
    assert row["difference"] == pytest.approx(x.mean() - y.mean(), rel=1e-6)
    error = np.sqrt(x.var() / 80 + y.var() / 50)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.25)
    assert row["low"] < row["difference"] < row["high"]
    assert (found.table["fdr"] <= 0.05).sum() <= 4
    np.testing.assert_allclose(found.values, a.toarray().mean(axis=0), rtol=1e-6)


def test_a_patient_and_itself_do_not_differ():
    a = cells(40, 0)
    found = comparison.between_patients(("A", a), ("A", a), np.arange(K))
    assert (found.table["difference"] == 0).all()
    assert (found.table["fdr"] > 0.9).all()


def test_a_patient_and_a_class():
    # As the null is the class's own distances, few patients tell no small p.
    n = 60
    made = cohort(n)
    head, _ = run(train(made, repeats=1))
    stranger = csr_array(made.values[[80]])
    with_own = class_comparison.with_class(head, "b", "p80", stranger)
    with_other = class_comparison.with_class(head, "a", "p80", stranger)
    assert (with_own.table["fdr"] < 0.05).sum() == 0
    assert set(with_other.table.index[:2]) == {3, 4}
    assert (with_other.table["fdr"].iloc[:2] < 0.01).all()
    old = replace(head, profiles=replace(head.profiles, tails=None, sizes=None))
    unknown = class_comparison.with_class(old, "a", "p80", stranger)
    assert unknown.table["fdr"].isna().all()
    shares = made.values.toarray()[:n].astype(float)
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(with_other.others, shares.mean(axis=0), rtol=1e-5)
    x = stranger.toarray()[0] / stranger.sum()
    deviations = shares.std(axis=0, ddof=1)
    for concept in (3, 5):
        unit = max(deviations[concept], np.median(deviations)) * np.sqrt((n + 1) / n)
        expected = (x[concept] - shares[:, concept].mean()) / unit
        effect = with_other.table.loc[concept, "effect"]
        assert effect == pytest.approx(expected, rel=1e-4)
    with pytest.raises(CytoError, match="no barcode of c"):
        class_comparison.with_class(head, "c", "p", stranger)


def test_a_class_s_own_patients_seldom_differ_from_it():
    """Concepts that most patients lack: a t distribution has findings in nearly all."""
    rng = np.random.default_rng(0)
    k, n = 2000, 12
    shares = rng.gamma(0.5, 1, (n + 40, k)) * (rng.random((n + 40, k)) < 0.2)
    shares /= shares.sum(axis=1, keepdims=True)
    rows = shares[:n]
    tail, size = null_tail(rows)
    found, naive = [], []
    for one in shares[n:]:
        _, distance, _ = distances(one, rows.mean(axis=0), rows.std(axis=0, ddof=1), n)
        p = p_values(distance, tail, size)
        assert p.min() >= 1 / (size + 1)
        found.append((comparison.fdr_of(p) <= 0.05).any())
        wrong = comparison.fdr_of(2 * stats.t.sf(np.abs(distance), n - 1))
        naive.append((wrong <= 0.05).any())
    assert np.mean(found) <= 0.05
    assert np.mean(naive) > 0.5
    assert null_tail(rows[:2])[1] == 0


def test_patients_of_a_disease_are_alike():
    made = cohort()
    matrix = resemblance.correlation(made.values)
    root = np.sqrt(made.values.toarray() / made.values.toarray().sum(axis=1)[:, None])
    np.testing.assert_allclose(matrix, np.corrcoef(root), atol=1e-5)
    inside = matrix[12:, 12:][np.triu_indices(12, 1)].mean()
    assert inside > matrix[:12, 12:].mean() + 0.2


def test_concepts_of_a_disease():
    table = resemblance.disease_concepts(cohort(), top=5)
    b = table[table["diagnosis"] == "b"]
    assert set(b["concept"].head(2)) == {3, 4}
    assert (b["fdr"].head(2) < 0.01).all()
    assert (b["mean"] > b["others"]).head(2).all()
    with pytest.raises(CytoError, match="two diagnoses"):
        resemblance.disease_concepts(cohort().rows(np.arange(5)))


def test_alike_patients_lie_side_by_side():
    made = cohort()
    values = made.values.toarray()
    values[:12, 10:12] *= 4  # class a has something of its own too
    mixed = np.random.default_rng(1).permutation(24)
    names = [made.patients[i] for i in mixed]
    found = resemblance.resemblance(names, csr_array(values[mixed]))
    assert found.names == tuple(names[i] for i in found.places)
    ranks = [int(name[1:]) >= 12 for name in found.names]
    assert sum(a != b for a, b in itertools.pairwise(ranks)) == 1
    i, j = found.names.index("p3"), found.names.index("p20")
    whole = resemblance.correlation(csr_array(values))
    assert found.matrix[i, j] == pytest.approx(whole[3, 20])


def test_concepts_of_a_class_of_the_head():
    made = cohort()
    head, _ = run(train(made, repeats=1))
    found = class_comparison.class_concepts(head, "b")
    assert set(found.table.index[:2]) == {3, 4}
    assert (found.table["difference"] > 0).all()
    shares = made.values.toarray().astype(float)
    shares /= shares.sum(axis=1, keepdims=True)
    test = stats.ttest_ind(shares[12:, 3], shares[:12, 3], equal_var=False)
    roots = stats.ttest_ind(
        np.sqrt(shares[12:, 3]), np.sqrt(shares[:12, 3]), equal_var=False
    )
    row = found.table.loc[3]
    # No shuffled class has as much more of any concept: the least p there is.
    assert row["p"] == pytest.approx(1 / (head.profiles.label_sizes[1] + 1))
    bare = replace(head.profiles, label_tails=None, label_sizes=None)
    old = class_comparison.class_concepts(replace(head, profiles=bare), "b").table
    assert old.loc[3, "p"] == pytest.approx(roots.pvalue, rel=1e-4)
    interval = test.confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx(tuple(interval), rel=1e-4)
    with pytest.raises(CytoError, match="no barcode of c"):
        class_comparison.class_concepts(head, "c")


def rare(n, k=3000, seed=0):
    """Skewed shares that a tenth of the patients show."""
    rng = np.random.default_rng(seed)
    shares = rng.gamma(0.5, 1, (n, k)) * (rng.random((n, k)) < 0.1)
    return shares / shares.sum(axis=1, keepdims=True)


def labelled(shares, labels):
    unknown = np.full(len(labels), np.nan)
    return Barcodes(
        tuple(f"p{i}" for i in range(len(labels))),
        csr_array(shares.astype(np.float32)),
        np.arange(shares.shape[1]),
        unknown,
        unknown,
        unknown,
        tuple(labels),
    )


def test_shuffled_diagnoses_have_no_concepts_of_their_own():
    """And what is threefold in a disease is found, where few patients show a concept."""
    findings, ranks, right, false = [], [], [], []
    labels = np.array(["a"] * 26 + ["b"] * 100)
    for seed in range(8):
        shares = rare(126, seed=seed)
        table = resemblance.disease_concepts(labelled(shares, labels), top=3000)
        findings.append((table.loc[table["diagnosis"] == "a", "fdr"] <= 0.05).any())
        ranked = enrichment.compare(csr_array(shares), labels == "a")
        ranks.append((ranked["fdr"] <= 0.05).any())
        more = np.arange(40)
        raised = shares.copy()
        raised[:26, more] += 3 * shares.mean() * (1 + shares[:26, more] / shares.mean())
        table = resemblance.disease_concepts(labelled(raised, labels), top=3000)
        of_a = table[table["diagnosis"] == "a"]
        sure = of_a.loc[of_a["fdr"] <= 0.05, "concept"]
        right.append(np.isin(sure, more).sum())
        false.append((~np.isin(sure, more)).sum())
    # Each may with 0.05: two or more of eight do in 6 of 100 such tests.
    assert sum(findings) <= 1
    assert sum(ranks) >= 3
    assert right == [40] * 8
    # Beside 40 that are sure, Benjamini and Hochberg let `j` of the others pass with this
    # probability: those below the last crossing of a line by a Poisson process. No more in
    # the eight cohorts together than there are in 95 of 100 such tests.
    rate, j = 0.05 * 2960 / 3000, np.arange(60)
    one = (1 - rate) * stats.poisson.pmf(j, rate * (40 + j))
    eight = functools.reduce(np.convolve, [one] * 8)
    assert eight.sum() == pytest.approx(1)
    assert sum(false) <= np.searchsorted(eight.cumsum(), 0.95)


def test_the_p_of_shuffled_labels_is_the_share_of_concepts_as_far():
    """All 2002 classes of 5 among 14 patients tell what the shuffles must find."""
    shares, labels = rare(14, k=600), np.repeat([0, 1], [5, 9])
    roots = np.sqrt(shares)
    tail, size = label_tail(csr_array(roots), labels, np.arange(14), 0)
    profiles = profiles_of(shares, labels, np.arange(14), 2)
    found = excess(profiles.root_means, profiles.root_deviations, profiles.counts)[0]
    varied = roots.std(axis=0) > 0
    roots, found = roots[:, varied], found[varied]
    k = len(found)
    assert size == 8000 * k
    p = p_of(found, tail, size)
    assert (p[found <= 0] == 1).all()
    subsets = np.array(list(itertools.combinations(range(14), 5)))
    apart = roots[subsets].mean(axis=1) - roots.mean(axis=0)
    null = apart / (roots.std(axis=0) * np.sqrt(9 / 5 / 13))
    values, first = np.unique(found, return_index=True)
    values, p = values[values > 0], p[first][values > 0]
    # Of each subset, by the 250 concepts that are shuffled together.
    parts = np.array(
        [
            [(null[:, a : a + 250] >= one - 1e-9).sum(axis=1) / k for a in (0, 250)]
            for one in values
        ]
    )
    assert 250 < k <= 500
    exact = parts.mean(axis=2).sum(axis=1)
    # Bernstein's inequality, for all values and both sides at once with 0.99; p is rounded
    # up to a step of the tail.
    spread = parts.var(axis=2).sum(axis=1) / 8000
    largest = np.abs(parts - parts.mean(axis=2, keepdims=True)).max(axis=(1, 2)) / 8000
    doubt = np.log(2 * len(values) / 0.01)
    reach = np.sqrt(2 * spread * doubt) + largest * doubt / 3
    assert (p >= exact - reach).all()
    assert (p / (size + 1) ** (1 / STEPS) <= exact + reach + 1 / (size + 1)).all()
    assert np.median(reach / exact) < 0.01
    # Three samples of each patient are one: shuffled so, the tail is longer.
    shares, of_patient = rare(24, k=300), np.repeat(np.arange(8), 3)
    labels = np.repeat([0, 1], [9, 15])
    tail, _ = label_tail(csr_array(np.sqrt(shares)), labels, np.arange(24), 0)
    wider, _ = label_tail(csr_array(np.sqrt(shares)), labels, of_patient, 0)
    assert len(np.unique(wider)) < len(np.unique(tail))
    assert label_tail(csr_array(np.sqrt(shares)), np.arange(24), np.arange(24), 0)[1] == 0


def test_p_does_not_hang_on_which_labels_were_drawn():
    """Not where patients resemble each other, so that one shuffle raises many concepts."""
    rng = np.random.default_rng(0)
    n, k = 126, 49_000
    family = rng.permutation(np.arange(n) // 6)
    shares = rng.gamma(0.5, 1, (n, k)) * (rng.random((21, k)) < 0.05)[family]
    roots = csr_array(np.sqrt(shares / shares.sum(axis=1, keepdims=True)))
    labels = (np.arange(n) >= 11).astype(int)
    drawn = [label_tail(roots, labels, np.arange(n), 0, seed) for seed in range(3)]
    (tail, size), step = drawn[0], (drawn[0][1] + 1) ** (1 / STEPS)
    for wanted in (1e-3, 1e-4):
        value = tail[[int(-np.log(wanted) / np.log(step)) - 1]]
        found = np.concatenate([p_of(value, *one) for one in drawn])
        assert wanted / step <= found[0] <= wanted * step**2
        # A step, and four standard errors of the difference of two counts.
        assert found.max() / found.min() <= step * (1 + 4 * np.sqrt(2 / (1e-4 * size)))


def test_what_one_patient_alone_shows_is_not_what_a_class_shows_more():
    """By its mean share it does, by its mean root it shows less."""
    rng = np.random.default_rng(0)
    values = rng.gamma(20, 1, (120, 100))
    values[:30, 0], values[0, 0] = 0, 2000
    values[:30, 1] *= 2
    values /= values.sum(axis=1, keepdims=True)
    assert values[:30, 0].mean() > values[30:, 0].mean()
    table = resemblance.disease_concepts(labelled(values, "a" * 30 + "b" * 90), top=100)
    of_a = table[table["diagnosis"] == "a"]
    assert 0 not in set(of_a["concept"])
    assert of_a["concept"].iloc[0] == 1
    profiles = profiles_of(values, np.repeat([0, 1], [30, 90]), np.arange(120), 2)
    old = replace(profiles, label_tails=None, label_sizes=None)
    found = class_comparison.more_in_class(old, 0, "a", np.arange(100))
    assert 0 not in found.table.index
    assert found.table.index[0] == 1


def test_a_class_of_one_patient_has_no_effect():
    made = cohort()
    head, _ = run(train(made, repeats=1))
    shares = made.values.toarray().astype(float)
    shares /= shares.sum(axis=1, keepdims=True)
    labels = (np.arange(24) > 0).astype(int)
    alone = replace(head, profiles=profiles_of(shares, labels, np.arange(24), 2))
    found = class_comparison.with_class(alone, "a", "P", csr_array(shares[[20]]))
    assert found.there == "a (1 training patient)"
    assert found.table["effect"].isna().all()
    assert found.table["fdr"].isna().all()
    assert found.table.index[0] in (3, 4)
    more = class_comparison.class_concepts(alone, "a").table
    assert more["p"].isna().all()
    assert more["effect"].abs().max() < 10
    bars = difference_bars(found, {})
    assert bars[0].value == "?, FDR ?"
    assert "nan" not in bars[0].tooltip
    assert "in shares of the barcode; effect not known" in bars[0].tooltip
    assert bars[0].end == 1


def test_a_patient_and_a_barcode_from_a_file():
    a, b = cells(80, 0, more=(7,)), cells(50, 1)
    record = {}
    other = collect([PatientCells("B", b, np.ones(50, bool))], record)
    found = comparison.with_barcode(("A", a), ("B", other), np.arange(K) + 100)
    assert found.table.index[0] == 107
    row = found.table.loc[107]
    x, y = a.toarray().mean(axis=0), b.toarray().mean(axis=0)
    x, y = x / x.sum(), y / y.sum()
    assert row["effect"] == pytest.approx(np.sqrt(x[7]) - np.sqrt(y[7]), rel=1e-5)
    assert row["low"] < row["difference"] < row["high"]
    assert row["fdr"] < 1e-6
    assert (found.table["fdr"] <= 0.05).sum() <= 4
    bare = replace(other, low=None, high=None)
    unknown = comparison.with_barcode(("A", a), ("B", bare), np.arange(K) + 100).table
    assert unknown["fdr"].isna().all()
    assert unknown.index[0] == 107
    assert unknown.loc[107, "difference"] == pytest.approx(row["difference"])


def test_the_interval_of_a_patient_against_a_class_is_a_bootstrap():
    """Cells and class mean both drawn again: checked against the error of each."""
    made = cohort(40)
    head, _ = run(train(made, repeats=1))
    rng = np.random.default_rng(5)
    counts = csr_array(rng.poisson(1.0, (300, K)).astype(np.float32))
    table = class_comparison.with_class(head, "a", "P", counts).table
    shares = made.values.toarray()[:40].astype(float)
    shares /= shares.sum(axis=1, keepdims=True)
    dense = counts.toarray()
    x = dense.mean(axis=0) / dense.mean(axis=0).sum()
    own = np.array(
        [
            (drawn := dense[rng.integers(0, 300, 300)].mean(axis=0)) / drawn.sum()
            for _ in range(400)
        ]
    ).std(axis=0)
    error = np.hypot(own, shares.std(axis=0, ddof=1) / np.sqrt(40))
    reach = stats.t.ppf(0.975, 39) * error
    found = table.sort_index()
    width = (found["high"] - found["low"]).to_numpy()
    assert np.median(width / (2 * reach)) == pytest.approx(1, abs=0.1)
    difference = x - shares.mean(axis=0)
    np.testing.assert_allclose(found["difference"], difference, atol=1e-6)
    assert (found["low"] < found["difference"]).all()
    assert (found["difference"] < found["high"]).all()
    one = class_comparison.with_class(head, "a", "P", csr_array(x[None])).table
    assert one["low"].isna().all()


def test_what_a_patient_has_fourfold_is_found_and_little_else():
    """Found concepts are right: the false ones stay below the FDR asked for."""
    rng = np.random.default_rng(0)
    k, n = 1000, 12
    shares = rng.gamma(3, 1, (n + 20, k)) * (rng.random((n + 20, k)) < 0.5)
    shares /= shares.sum(axis=1, keepdims=True)
    rows = shares[:n]
    tail, size = null_tail(rows)
    right, false = [], []
    for one in shares[n:]:
        more = rng.choice(k, 20, replace=False)
        changed = one.copy()
        changed[more] = 4 * (one + rows.mean(axis=0))[more]
        changed /= changed.sum()
        mean, deviation = rows.mean(axis=0), rows.std(axis=0, ddof=1)
        shown, distance, _ = distances(changed, mean, deviation, n)
        sure = comparison.fdr_of(p_values(distance, tail, size)) <= 0.05
        hit = sure[np.isin(shown, more)].sum()
        right.append(hit)
        false.append((sure.sum() - hit) / max(sure.sum(), 1))
    assert np.mean(false) <= 0.05
    assert np.mean(right) >= 4

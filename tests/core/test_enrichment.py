"""Rank statistics against scipy, and search by example on planted groups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import false_discovery_control, mannwhitneyu

from napari_cytosae.core.enrichment import compare, enriched, likeness


def make_values(n=40, d=25, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    dense = rng.random((n, d)) * (rng.random((n, d)) < 0.4)
    dense = np.round(dense, 1).astype(np.float32)  # ties
    dense[:, 3] = 0  # dead
    dense[:, 4] = 0.5  # the same everywhere
    dense[:7, 5] += 2
    return dense


@pytest.mark.parametrize("rows", [np.arange(7), np.arange(40) % 3 == 0, [1, 8, 30]])
def test_comparison_agrees_with_scipy(rows):
    dense = make_values()
    table = compare(csr_array(dense), rows)
    chosen = np.zeros(40, bool)
    chosen[rows] = True
    firing = np.flatnonzero(dense.any(axis=0))
    assert table.index.tolist() == firing.tolist()
    exact = dense.astype(float)
    expected = [
        mannwhitneyu(exact[chosen, c], exact[~chosen, c], method="asymptotic")
        for c in firing
    ]
    p = np.array([1.0 if np.isnan(e.pvalue) else e.pvalue for e in expected])
    u = np.array([e.statistic for e in expected])
    k = chosen.sum()
    np.testing.assert_allclose(table["effect"], 2 * u / (k * (40 - k)) - 1, atol=1e-12)
    np.testing.assert_allclose(table["p"], p, rtol=1e-10)
    np.testing.assert_allclose(table["fdr"], false_discovery_control(p), rtol=1e-10)


def test_what_was_planted_is_found_and_the_rest_is_not():
    table = compare(csr_array(make_values()), np.arange(7))
    assert table.index[table["fdr"] < 0.01].tolist() == [5]
    assert table.loc[5, "effect"] == 1
    assert table.loc[4, "effect"] == 0
    assert table.loc[4, "p"] == 1


def test_too_few_cells_have_an_effect_but_no_fdr():
    dense = make_values()
    table = compare(csr_array(dense), [2])
    column = dense[:, 5]
    less, same = (column < column[2]).sum(), (column == column[2]).sum() - 1
    assert table.loc[5, "effect"] == pytest.approx(2 * (less + same / 2) / 39 - 1)
    assert table[["p", "fdr"]].isna().all(axis=None)
    for nobody in ([], np.ones(40, bool)):
        assert compare(csr_array(dense), nobody)["effect"].isna().all()
    assert len(compare(csr_array((40, 9), dtype=np.float32), [1, 2, 3])) == 0


def planted(seed=0, n=60, d=200) -> tuple[np.ndarray, np.ndarray]:
    """Cells of two kinds that differ in six concepts, each of which may be missing."""
    rng = np.random.default_rng(seed)
    dense = rng.exponential(1, (n, d)) * (rng.random((n, d)) < 0.1)
    kind = rng.random(n) < 0.25
    own = rng.exponential(1, (n, 6)) * (rng.random((n, 6)) < 0.85)
    dense[:, :6] = np.where(kind[:, None], 1 + own, 0.2 * own)
    dense[:, 6] = 5  # always on
    return dense.astype(np.float32), kind


def test_three_examples_find_the_other_cells_of_their_kind():
    dense, kind = planted()
    examples = np.flatnonzero(kind)[:3]
    wanted = enriched(csr_array(dense), examples)
    assert len(set(range(6)) & set(list(wanted)[:10])) >= 5  # one may be missing in them
    assert 6 not in wanted
    assert list(wanted.values()) == sorted(wanted.values(), reverse=True)
    # The weights, by plain arithmetic.
    mask = np.isin(np.arange(len(dense)), examples)
    for concept, weight in wanted.items():
        column = dense[:, concept].astype(float)
        expected = (column[mask].mean() - column[~mask].mean()) / column.std()
        assert weight == pytest.approx(expected, rel=1e-5)
    score = likeness(csr_array(dense), examples, wanted)
    others = ~mask
    u = mannwhitneyu(score[others & kind], score[others & ~kind]).statistic
    assert u / ((others & kind).sum() * (others & ~kind).sum()) > 0.99
    assert score.min() >= 0
    assert score.max() <= 1


def test_likeness_is_the_weighted_share_of_what_the_examples_have():
    dense = np.array([[2, 4, 0], [1, 2, 9], [0, 8, 0]], np.float32)
    score = likeness(csr_array(dense), [0], {0: 3.0, 1: 1.0})
    np.testing.assert_allclose(score, [1, (3 * 0.5 + 0.5) / 4, 1 / 4])
    assert likeness(csr_array(dense), [0], {}).tolist() == [0, 0, 0]


@pytest.mark.parametrize("rows", [[], [0, 1, 2]])
def test_without_examples_or_others_nothing_is_enriched(rows):
    dense = np.array([[2, 4, 0], [1, 2, 9], [0, 8, 0]], np.float32)
    assert enriched(csr_array(dense), rows) == {}

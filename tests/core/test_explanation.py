"""Explanations add up: concepts to the score, and what-if to a recomputation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from napari_cytosae.core.explanation import (
    cell_changes,
    class_probabilities,
    contributions,
    scores_without,
    waterfall,
)
from napari_cytosae.core.heads import Head, Part
from napari_cytosae.core.types import CytoError

K = 80


@pytest.fixture(scope="module")
def head():
    rng = np.random.default_rng(0)
    parts = tuple(
        Part(transform, rng.normal(0, 30, (3, K)), rng.random(K) / K)
        for transform in ("fraction", "sqrt", "log")
    )
    typical = np.full(K, K**-0.5)
    concepts = np.arange(K) + 100
    intercept = np.array([0.3, -0.1, -0.2])
    return Head(("a", "b", "c"), concepts, parts, intercept, 0.2, typical, 20, 0.1, 0.1)


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(1)
    return csr_array(rng.poisson(0.5, (150, K)).astype(np.float64))


def mean(counts):
    return csr_array(counts.toarray().mean(axis=0)[None])


def test_contributions_add_up_to_the_score(head, cells):
    each = contributions(head, mean(cells))
    np.testing.assert_allclose(
        head.intercept + each.sum(axis=1), head.scores(mean(cells))[0], atol=1e-8
    )
    # By hand, without the package's transforms.
    x = cells.toarray().mean(axis=0)
    x = x / x.sum()
    forms = {"fraction": x, "sqrt": np.sqrt(x), "log": np.log1p(x * K)}
    expected = head.intercept + sum(
        part.coefficients @ (forms[part.transform] - part.reference) for part in head.parts
    )
    np.testing.assert_allclose(head.scores(mean(cells))[0], expected, atol=1e-5)


def test_waterfall_ends_at_the_score(head, cells):
    table = waterfall(head, mean(cells), "b", {101: "nuclear indent"}, top=K)
    assert table["total"].iloc[-1] == pytest.approx(head.scores(mean(cells))[0, 1])
    assert table["name"].iloc[0] == "mean training patient"
    assert "nuclear indent" in set(table["name"])
    short = waterfall(head, mean(cells), "b", top=5)
    assert len(short) == 7
    assert short["contribution"].iloc[1:6].abs().is_monotonic_decreasing
    assert short["name"].iloc[-1] == f"{K - 5} other concepts"
    assert short["total"].iloc[-1] == pytest.approx(table["total"].iloc[-1])
    with pytest.raises(CytoError, match="no class x"):
        waterfall(head, mean(cells), "x")


def test_a_cell_is_worth_what_its_absence_changes(head, cells):
    changes = cell_changes(head, cells)
    whole = head.scores(mean(cells))[0]
    for cell in (0, 63, 64, 149):
        rest = np.delete(np.arange(150), cell)
        expected = whole - head.scores(mean(cells[rest]))[0]
        np.testing.assert_allclose(changes[cell], expected, atol=1e-5)
    with pytest.raises(CytoError, match="single cell"):
        cell_changes(head, cells[:1])


def test_without_cells_and_concepts(head, cells):
    rest = np.arange(5, 150)
    expected = head.scores(mean(cells[rest]))[0]
    found = scores_without(head, cells, cells=range(5))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    each = contributions(head, mean(cells))
    np.testing.assert_allclose(
        scores_without(head, cells, concepts=[103]),
        head.scores(mean(cells))[0] - each[:, 3],
        atol=1e-6,
    )
    assert class_probabilities(found).sum() == pytest.approx(1)
    with pytest.raises(CytoError, match="without cells"):
        scores_without(head, cells, cells=range(150))
    with pytest.raises(CytoError, match="no concept 99"):
        scores_without(head, cells, concepts=[99])

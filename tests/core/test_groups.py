"""Groups of cells against concepts, checked against a one-way analysis of variance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import f_oneway

from napari_cytosae.core.groups import compare_groups
from napari_cytosae.core.types import CytoError


def test_means_and_explained_variance_are_those_of_an_anova():
    rng = np.random.default_rng(3)
    dense = np.maximum(rng.normal(0, 1, (60, 12)), 0).astype(np.float32)
    labels = [["b", "a", "c", ""][i % 4] for i in range(60)]
    dense[:, 5] += np.array([label == "c" for label in labels]) * 3
    dense[:, 7] = 2.0  # the same in all cells tells nothing
    found = compare_groups(sparse.csr_array(dense), labels)
    assert found.names == ("a", "b", "c")
    assert found.counts.tolist() == [15, 15, 15]
    assert found.concepts[0] == 5
    assert 7 not in found.concepts
    assert sorted(found.concepts) == [c for c in range(12) if c != 7]
    of = {g: dense[[label == g for label in labels]].astype(float) for g in "abc"}
    for column, concept in enumerate(found.concepts):
        means = [of[g][:, concept].mean() for g in "abc"]
        np.testing.assert_allclose(found.means[:, column], means, rtol=1e-6)
        f = f_oneway(*(of[g][:, concept] for g in "abc")).statistic
        eta = f * 2 / (f * 2 + 45 - 3)
        assert found.explained[column] == pytest.approx(eta, rel=1e-5)
    assert (np.diff(found.explained) <= 0).all()
    assert compare_groups(sparse.csr_array(dense), labels, 3).means.shape == (3, 3)


def test_one_group_cannot_be_compared():
    with pytest.raises(CytoError, match="only one group"):
        compare_groups(sparse.csr_array(np.ones((3, 2), np.float32)), ["a", "a", ""])

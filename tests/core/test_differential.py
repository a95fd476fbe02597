"""A differential count from a few called cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from napari_cytosae.core.differential import Differential, count_table, propose
from napari_cytosae.core.types import CytoError

SHARES = (0.6, 0.3, 0.1)
NAMES = ("neutrophil", "lymphocyte", "blast")


def patient(n=300, k=400, seed=0, strength=4.0):
    """Cells of three types, each with more of twenty concepts of its own."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=SHARES)
    rates = np.full((3, k), 0.3)
    for label in range(3):
        rates[label, 20 * label : 20 * label + 20] *= strength
    return csr_array(rng.poisson(rates[truth]).astype(np.float32)), truth


def calls(truth, each, seed=0):
    rng = np.random.default_rng(seed)
    return {
        int(row): NAMES[label]
        for label in range(3)
        for row in rng.choice(np.flatnonzero(truth == label), each, replace=False)
    }


def test_proposals_are_right_and_honest():
    counts, truth = patient()
    found = propose(counts, calls(truth, 6))
    np.testing.assert_allclose(found.p.sum(axis=1), 1)
    right = [found.proposed(i)[0] == NAMES[truth[i]] for i in range(len(truth))]
    assert np.mean(right) > 0.9
    sure = np.array([found.proposed(i)[1] for i in np.flatnonzero(~found.called)])
    assert abs(sure.mean() - np.mean(np.array(right)[~found.called])) < 0.1
    called = np.flatnonzero(found.called)
    assert all(found.proposed(int(i)) == (NAMES[truth[i]], 1.0) for i in called)


def test_the_doubtful_come_first_and_the_called_last():
    counts, truth = patient(strength=2.0)
    found = propose(counts, calls(truth, 5))
    order = found.doubtful_first()
    assert set(order[-15:]) == set(np.flatnonzero(found.called))
    sureness = found.p.max(axis=1)[order[:-15]]
    assert (np.diff(sureness) >= 0).all()


def test_intervals_of_a_count_hold():
    """Patients drawn again and again: the truth lies inside as often as it should."""
    inside, widths = [], []
    for seed in range(10):
        counts, truth = patient(n=200, seed=seed)
        table = count_table(propose(counts, calls(truth, 6, seed))).set_index("type")
        for name, share in zip(NAMES, SHARES, strict=True):
            row = table.loc[name]
            inside.append(row["low"] <= share <= row["high"])
            widths.append(row["high"] - row["low"])
    # They know of the calls' own chance too, and are rather too wide than too narrow.
    assert np.mean(inside) >= 0.9
    # All cells called would give 0.12; a plain bootstrap of the calls gives 0.5.
    assert np.mean(widths) < 0.3


def test_counts_by_eye_scatter_more_the_fewer_cells():
    p = np.zeros((400, 2))
    p[:40, 0], p[40:, 1] = 1, 1
    table = count_table(
        Differential(("a", "b"), p, np.ones(400, bool), p.sum(axis=0)[None])
    )
    table = table.set_index("type")
    row = table.loc["a"]
    assert row["share"] == pytest.approx(0.1)
    assert (row["count_100"], row["count_200"]) == pytest.approx((10, 20))
    # Binomial of 100 at 0.1, and a little wider by what the share leaves open.
    assert 3 <= row["low_100"] <= 5
    assert 16 <= row["high_100"] <= 18
    assert (row["high_200"] - row["low_200"]) / 2 < row["high_100"] - row["low_100"]
    assert row["high"] - row["low"] < 0.07


def test_too_few_calls_are_refused():
    counts, truth = patient()
    with pytest.raises(CytoError, match="Call 3 cells of each of two types"):
        propose(counts, {0: "a", 1: "a", 2: "a", 3: "b"})
    rare = calls(truth, 4) | {int(np.flatnonzero(truth == 2)[-1]): "mystery"}
    found = propose(counts, rare)
    assert found.p[:, found.types.index("mystery")].sum() == 1


def test_counts_by_eye_hold_where_types_are_hardly_told_apart():
    """The calls nearly use up the rare type: what is called is not among the rest."""
    rng = np.random.default_rng(0)
    inside: dict[int, list[bool]] = {100: [], 200: []}
    for seed in range(8):
        counts, truth = patient(n=200, seed=seed, strength=2.0)
        table = count_table(propose(counts, calls(truth, 12, seed))).set_index("type")
        for total, found in inside.items():
            by_eye = rng.multinomial(total, SHARES, size=20)
            low, high = (table.loc[list(NAMES), f"{b}_{total}"] for b in ("low", "high"))
            found += list(((low.values <= by_eye) & (by_eye <= high.values)).ravel())
    # The most likely shares alone, rare cells that were called counted among the rest:
    # 0.82 and 0.78.
    assert np.mean(inside[100]) >= 0.93
    assert np.mean(inside[200]) >= 0.93


def test_a_type_all_of_whose_cells_are_called_is_not_proposed_any_more():
    counts, truth = patient(n=200, strength=4.0)
    rare = np.flatnonzero(truth == 2)
    called = calls(truth, 12) | {int(row): NAMES[2] for row in rare}
    table = count_table(propose(counts, called)).set_index("type")
    assert table.loc["blast", "expected"] == pytest.approx(len(rare), abs=2)
    assert table.loc["blast", "low"] <= len(rare) / 200 <= table.loc["blast", "high"]

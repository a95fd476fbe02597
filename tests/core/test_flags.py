"""Which cells are left out, and for which reasons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_cytosae.core.flags import REASONS, flagged
from napari_cytosae.core.morphometry import quality

QC = pd.Series(["ok", "border", "border; clump", "smudge", "out of focus; smudge"])


@pytest.mark.parametrize(
    ("spared", "left_out"),
    [
        ((), [False, True, True, True, True]),
        (("border",), [False, False, True, True, True]),
        (("border", "clump"), [False, False, False, True, True]),
        (("smudge",), [False, True, True, False, True]),
        (REASONS, [False] * 5),
    ],
)
def test_a_cell_is_left_out_for_any_reason_that_is_not_spared(spared, left_out):
    np.testing.assert_array_equal(flagged(QC, spared), left_out)


def test_the_reasons_are_those_of_quality_control():
    table = pd.DataFrame(
        {
            "kind": ["wbc"] * 2,
            "area_px": [9000.0] * 2,
            "solidity": [0.5] * 2,
            "touches_border": [True] * 2,
            "focus": [0.1] * 2,
        }
    )
    rims, alone = np.array([0.1, 0.1]), np.zeros(2)
    said = quality(table, np.array([2.0, 0.1]), rims, alone, 0.2)
    assert tuple(said[0].split("; ")) == REASONS[:5]
    assert said[1].split("; ")[-1] == REASONS[5]

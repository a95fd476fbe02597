"""How long the table of concepts takes to be sorted, searched and renamed, by its size.

Run it anywhere: ``QT_QPA_PLATFORM=offscreen python benchmarks/table.py [ROWS]``.
The time of the GUI thread is counted, and how it grows from a tenth of the rows.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import pandas as pd
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_cytosae.core.concepts import Annotation
from napari_cytosae.widgets._concept_rows import ConceptRows
from napari_cytosae.widgets.concept_model import HEADERS, ConceptTableModel

REPEATS = 9


def rows(n: int) -> tuple[ConceptRows, dict[int, Annotation]]:
    rng = np.random.default_rng(0)
    classes = ["myeloblast", "basophil", "monocyte", "neutrophil segmented", "lymphocyte"]
    table = pd.DataFrame(
        {
            "concept": rng.permutation(n),
            "name": "",
            "here": rng.random(n),
            "prevalence": rng.random(n),
            "specificity": rng.normal(size=n),
            "fdr": rng.random(n),
            "where": rng.choice(["nucleus 82%", "outside 90%", ""], n),
            "flags": rng.choice(["", "", "always-on", "unstable"], n),
            "class": [
                f"{c} (MLL23 {a}/10, Matek {b}/10)"
                for c, a, b in zip(
                    rng.choice(classes, n),
                    rng.integers(0, 11, n),
                    rng.integers(0, 11, n),
                    strict=True,
                )
            ],
        }
    )
    said = {i: Annotation(f"name {i}", ("stage: blast",)) for i in range(0, n, 10)}
    return ConceptRows.of(table).said(said), said


def measure(n: int) -> dict[str, float]:
    model = ConceptTableModel()
    content, said = rows(n)
    model.set_rows(content)
    other = {**said, 5: Annotation("new name")}
    actions = {
        f"sort by {key}": lambda column=column: model.sort(
            column, Qt.SortOrder.DescendingOrder
        )
        for column, key in enumerate(HEADERS)
    }
    actions |= {
        "search a number": lambda: model.set_search("123"),
        "search a name": lambda: model.set_search("name 12"),
        "search a class": lambda: model.set_search("basophil"),
        "search with a typing error": lambda: model.set_search("basofil"),
        "search nothing": lambda: model.set_search(""),
        "name a concept": lambda: (
            model.set_annotations(other),
            model.set_annotations(said),
        ),
    }
    spent = {}
    for title, action in actions.items():
        times = []
        for _ in range(REPEATS):
            began = time.thread_time()
            action()
            times.append(time.thread_time() - began)
        spent[title] = statistics.median(times)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=49_152)
    n = parser.parse_args().rows
    application = QApplication.instance() or QApplication([])
    few, all_rows = measure(n // 10), measure(n)
    print(f"{n:,} rows; median of {REPEATS}")
    for title, seconds in all_rows.items():
        growth = seconds / max(few[title], 1e-9)
        print(f"{title:28} {1000 * seconds:7.1f} ms   {growth:5.1f} x that of a tenth")
    print(f"slowest: {1000 * max(all_rows.values()):.1f} ms")
    del application


if __name__ == "__main__":
    main()

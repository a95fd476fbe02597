"""Class labels of concepts, on the published files against a plain count of them."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from napari_cytosae.core.catalogue import Catalogue
from napari_cytosae.core.class_labels import (
    MATEK,
    class_name,
    describe_classes,
    distribution,
    load_all,
)
from napari_cytosae.core.types import CytoError


@pytest.fixture(scope="module")
def published(data_dir):
    return load_all(data_dir / "cytosae_published" / "feature_data")


def test_published_folder_is_read_as_it_is(published):
    assert list(published) == ["MLL23", "Matek", "AML_Hehr"]
    assert {len(each) for each in published.values()} == {49152}
    assert published["MLL23"].classnames[0] == "basophil"
    assert published["Matek"].classnames[0] == "BAS"
    assert set(published["Matek"].classnames) == set(MATEK)


def test_classes_agree_with_counting_the_files(published, data_dir):
    table = describe_classes(published)
    folder = data_dir / "cytosae_published" / "feature_data" / "sae_8jsxk3co" / "custom"
    lists = {}
    for title, name in (("MLL23", "mll23"), ("Matek", "matek")):
        lines = data_dir / "cytosae_published" / "classnames" / f"{name}_classnames.txt"
        values, labels = (
            torch.load(
                folder / name / f"max_activating_image_{kind}.pt",
                map_location="cpu",
                weights_only=True,
            ).tolist()
            for kind in ("values", "label_indices")
        )
        lists[title] = values, labels, lines.read_text().split()
    for concept in [*range(0, 49152, 97), 3422, 10107]:
        count, weight, seen = Counter(), Counter(), Counter()
        for title, (values, labels, classes) in lists.items():
            for value, label in zip(values[concept], labels[concept], strict=True):
                if value > 0:
                    name = class_name(classes[int(label)])
                    count[name] += 1
                    weight[name] += value
                    seen[title, name] += 1
                    seen[title] += 1
        best = max(count, key=lambda name: (count[name], weight[name]))
        parts = [
            f"{title} {seen[title, best]}/{seen[title]}"
            for title, (_, _, classes) in lists.items()
            if best in map(class_name, classes) and seen[title]
        ]
        row = table.loc[concept]
        assert row["text"] == f"{best} ({', '.join(parts)})", concept
        assert row["class"] == best
        total = seen["MLL23"] + seen["Matek"]
        assert row["purity"] == pytest.approx(count[best] / total)
    assert table.loc[10107, "text"] == "basophil (MLL23 10/10, Matek 9/10)"


def test_distribution_of_one_concept(published):
    table = distribution(published, 10107)
    first = table[table["dataset"] == "Matek"]
    assert first["label"].tolist()[0] == "BAS"
    assert first["images"].tolist()[0] == 9
    assert table.groupby("dataset")["images"].sum().tolist() == [10, 10, 10]
    np.testing.assert_allclose(table.groupby("dataset")["weight"].sum(), 1)


def make(labels, classnames=(), values=None) -> Catalogue:
    labels = np.array(labels)
    values = np.ones(labels.shape) if values is None else np.array(values)
    empty = np.zeros(len(labels), np.float32)
    return Catalogue(
        values.astype(np.float32), labels, labels, empty, empty, empty, tuple(classnames)
    )


def test_padding_ties_and_silence():
    one = make(
        [[0, 0, 1], [0, 1, 1], [0, 0, 0]],
        ["myeloblast", "plasma_cell"],
        [[3, 1, 0], [5, 2, 2], [0, 0, 0]],
    )
    two = make([[0, 0], [0, 0], [0, 0]], ["MYO"], [[1, 1], [0, 0], [0, 0]])
    table = describe_classes({"one": one, "two": two})
    assert table["text"].tolist() == [
        "myeloblast (one 2/2, two 2/2)",
        "plasma cell (one 2/3)",
        "",
    ]
    np.testing.assert_allclose(table["purity"], [1, 2 / 3, 0])
    # One image each: the stronger one counts.
    tie = make([[0, 1]], ["a", "b"], [[1, 2]])
    assert describe_classes({"x": tie})["class"].tolist() == ["b"]


def test_without_class_names_nothing_is_said():
    table = describe_classes({"x": make([[0, 1]])})
    assert table["text"].tolist() == [""]
    assert len(describe_classes({})) == 0


def test_one_class_is_no_class():
    """As of a catalogue that was built from one folder, ``crops``."""
    alone = make([[0, 0], [0, 0]], ["crops"])
    table = describe_classes({"x": alone})
    assert table[["class", "text"]].to_numpy().tolist() == [["", ""]] * 2
    assert table["images"].tolist() == [0, 0]
    # Beside another data set it is one of two.
    both = describe_classes({"x": alone, "y": make([[1, 1], [1, 1]], ["crops", "b"])})
    assert set(both["class"]) <= {"crops", "b"}
    assert both["text"].str.len().min() > 0


def test_what_is_no_catalogue_is_refused(data_dir, tmp_path):
    with pytest.raises(CytoError, match="holds no catalogue"):
        load_all(tmp_path)
    custom = data_dir / "cytosae_published" / "feature_data" / "sae_8jsxk3co" / "custom"
    shutil.copytree(custom / "matek", tmp_path / "matek")
    shutil.copytree(custom / "matek", tmp_path / "small")
    for path in (tmp_path / "small").glob("*.pt"):
        tensor = torch.load(path, map_location="cpu", weights_only=True)
        path.chmod(0o644)
        torch.save(tensor[:100], path)
    with pytest.raises(CytoError, match=r"different SAEs: Matek 49,152, small 100"):
        load_all(tmp_path)

"""What made a result, wherever it is stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import anndata
import numpy as np
import torch

from napari_cytosae import __version__
from napari_cytosae.core.provenance import as_json, as_uns, provenance
from napari_cytosae.core.types import RESEARCH_USE, Image, PixelSize


def image(name: str, sha256: str) -> Image:
    return Image(np.zeros((8, 8, 3), np.uint8), name, PixelSize(), sha256)


def test_versions_time_and_note():
    record = provenance([], {})
    assert record.versions["napari-cytosae"] == __version__
    assert record.versions["torch"] == torch.__version__.split("+")[0]
    age = datetime.now(UTC) - datetime.fromisoformat(record.created)
    assert 0 <= age.total_seconds() < 60
    assert record.note == RESEARCH_USE
    assert record.models == {}


def test_images_of_one_name_are_told_apart():
    record = provenance(
        [image("x", "1"), image("x", "2"), image("y", "3"), image("x", "1")], {}
    )
    assert record.inputs == {"x": "1", "x (2)": "2", "y": "3"}


def test_any_parameters_can_be_stored(tmp_path):
    odd = {
        "none": None,
        "nan": float("nan"),
        "numpy": np.float32(0.5),
        "whole": np.int64(7),
        "true": np.bool_(True),
        "list": [1, 2.5],
        "words": ("wbc", "rbc"),
        "set": {"b", "a"},
        "empty": [],
        "array": np.arange(3),
        "path": tmp_path,
        "nested": {"a/b": {"deep": None, "x": 1}},
        3: "number as key",
    }
    record = provenance([image("layer [0] / crop", "1")], odd)
    parameters = json.loads(json.dumps(as_json(record), allow_nan=False))["parameters"]
    assert parameters["nan"] is None
    assert parameters["numpy"] == 0.5
    assert parameters["whole"] == 7
    assert parameters["true"] is True
    assert parameters["set"] == ["a", "b"]
    assert parameters["array"] == [0, 1, 2]
    assert parameters["path"] == str(tmp_path)
    data = anndata.AnnData(np.zeros((1, 1), np.float32), uns={"cytosae": as_uns(record)})
    data.write_h5ad(tmp_path / "odd.h5ad")
    stored = anndata.read_h5ad(tmp_path / "odd.h5ad").uns["cytosae"]
    assert list(stored["parameters"]["words"]) == ["wbc", "rbc"]
    assert stored["parameters"]["nested"]["a_b"] == {"x": 1}
    assert "none" not in stored["parameters"]
    assert stored["inputs"] == {"layer [0] _ crop": "1"}

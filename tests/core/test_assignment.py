"""Whose image is it: folders and patterns."""

from __future__ import annotations

import pytest

from napari_cytosae.core.assignment import by_folder, by_pattern, images_in
from napari_cytosae.core.types import CytoError


@pytest.mark.parametrize(
    ("name", "pattern", "patient"),
    [
        ("OYO_12.tif", "{patient}_*", "OYO"),
        ("OYO_12.tif", "{patient}_*.tif", "OYO"),
        ("OYO_12.tif", "{patient}_*.png", ""),
        ("OYO_12.TIF", "{patient}_*.tif", "OYO"),
        ("slide of 7 (b).png", "slide of {patient} (*)", "7"),
        ("a.b.png", "{patient}", "a.b"),
        ("_1.png", "{patient}_*", ""),
    ],
)
def test_patterns(name, pattern, patient):
    assert by_pattern(name, pattern) == patient


@pytest.mark.parametrize("pattern", ["*", "{patient}{patient}", ""])
def test_a_pattern_names_the_patient_once(pattern):
    with pytest.raises(CytoError, match="once"):
        by_pattern("x.png", pattern)


def test_folders(tmp_path):
    for name in ("A/1.png", "A/2.TIF", "B/x/3.jpg", "B/notes.txt", ".hidden.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = images_in(tmp_path)
    assert [path.name for path in found] == ["1.png", "2.TIF", "3.jpg"]
    assert [by_folder(path) for path in found] == ["A", "A", "x"]
    with pytest.raises(CytoError, match="no image"):
        images_in(tmp_path / "nowhere")

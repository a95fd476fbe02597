"""Whose image is it: folders and patterns."""

from __future__ import annotations

import pytest

from napari_cytosae.core.assignment import by_folder, by_pattern, images_in, told_apart
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
    assert by_folder(found) == ["A", "A", "x"]
    with pytest.raises(CytoError, match="no image"):
        images_in(tmp_path / "nowhere")


def test_folders_of_one_name_are_two_patients(tmp_path):
    names = ("AML/001/a", "control/001/b", "AML/002/day1/c", "control/003/day1/d", "P/e")
    paths = [tmp_path / f"{name}.png" for name in names]
    whole = ["AML/001", "control/001", "AML/002/day1", "control/003/day1", "P"]
    assert by_folder(paths, tmp_path) == whole
    assert by_folder(paths) == whole
    assert by_folder(paths[:1]) == ["001"]
    assert by_folder([]) == []
    # Images in the chosen folder itself, and a folder below of its name.
    assert by_folder([tmp_path / "P" / "1.png", tmp_path / "P" / "P" / "2.png"]) == [
        "P",
        "P/P",
    ]


def test_files_of_one_name_are_told_apart():
    assert told_apart(["/p/day1/x.png", "/p/day2/x.png", "/p/day2/y.png"]) == [
        "x.png (day1)",
        "x.png (day2)",
        "y.png",
    ]
    assert told_apart(["/a/d/x.png", "/b/d/x.png", "smear", "smear", "x.png"]) == [
        "x.png (d in a)",
        "x.png (d in b)",
        "smear",
        "smear (2)",
        "x.png",
    ]
    assert told_apart([]) == []

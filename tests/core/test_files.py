"""Files and folders are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from pathlib import Path

import pytest

from napari_cytosae.core.files import atomic_file, atomic_folder, sha256_file
from napari_cytosae.core.types import OutputError


def test_a_file_appears_only_when_complete(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == ".csv"
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["table.csv"]


def test_a_failure_keeps_the_former_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write():
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        write()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_full_disk_is_one_sentence(tmp_path):
    path = tmp_path / "table.csv"

    def write():
        with atomic_file(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match=r"No space left on device; free some space"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path):
    (tmp_path / "results").write_text("a file")

    def write():
        with atomic_folder(tmp_path / "results" / "smear"):
            pass

    with pytest.raises(OutputError, match="a file is in a folder's place"):
        write()


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "old.csv").write_text("old")
    with atomic_folder(folder) as temporary:
        (temporary / "new.csv").write_text("new")
        assert (folder / "old.csv").exists()
    assert [p.name for p in folder.iterdir()] == ["new.csv"]
    assert [p.name for p in tmp_path.iterdir()] == ["results"]


def test_what_a_folder_keeps_moves_along(tmp_path):
    folder = tmp_path / "results"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "note.txt").write_text("mine")
    (folder / "old.csv").write_text("old")
    with atomic_folder(folder, ["mine"]) as temporary:
        (temporary / "new.csv").write_text("new")
    assert {p.name for p in folder.iterdir()} == {"mine", "new.csv"}
    assert (folder / "mine" / "note.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["results"]


def test_a_failure_keeps_the_former_folder(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "old.csv").write_text("old")

    def write():
        with atomic_folder(folder) as temporary:
            (temporary / "new.csv").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [p.name for p in folder.iterdir()] == ["old.csv"]
    assert [p.name for p in tmp_path.iterdir()] == ["results"]


def test_a_folder_that_cannot_be_renamed_brings_the_former_one_back(tmp_path, monkeypatch):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "old.csv").write_text("old")
    rename = Path.replace

    def fail_for_new(self, target):
        if Path(target) == folder and (self / "new.csv").exists():
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail_for_new)
    with (
        pytest.raises(OutputError, match="Permission denied"),
        atomic_folder(folder) as temporary,
    ):
        (temporary / "new.csv").write_text("new")
    assert [p.name for p in folder.iterdir()] == ["old.csv"]
    assert [p.name for p in tmp_path.iterdir()] == ["results"]


def test_no_folder_can_be_made_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    for manager in (atomic_file, atomic_folder):
        with (
            pytest.raises(OutputError, match="Could not write"),
            manager(tmp_path / "file/x"),
        ):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_results_are_as_readable_as_other_files(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    with atomic_file(tmp_path / "ours") as temporary:
        temporary.touch()
    with atomic_folder(tmp_path / "folder"):
        pass
    (tmp_path / "plain_folder").mkdir()
    mode = [p.stat().st_mode & 0o777 for p in (plain, tmp_path / "ours")]
    assert mode[0] == mode[1]
    mode = [(tmp_path / name).stat().st_mode & 0o777 for name in ("folder", "plain_folder")]
    assert mode[0] == mode[1]


def test_sha256(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()

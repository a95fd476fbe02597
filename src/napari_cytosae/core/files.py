"""Files that are whole or not there: temporary name first, renamed when complete."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cytosae.core.types import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Read once, here: it can be read only by setting it, for the whole process.
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    An existing file stays untouched until the new one is complete.

    Raises
    ------
    OutputError
        If the folder cannot be made or the disk is full; nothing is left behind.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes files only their owner can read; results are shared.
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(_reason(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def require_writable(path: Path | str) -> None:
    """Check that a file can be put at `path`, before the work that makes it.

    Raises
    ------
    OutputError
        If the folder cannot be made or written, or `path` is a folder.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(_reason(path, error)) from error


@contextmanager
def atomic_folder(path: Path | str, keep: Iterable[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it replaces `path` when the block succeeds.

    Parameters
    ----------
    path : path-like
        Of the folder.
    keep : iterable of str
        Names in the former folder that move to the new one, which has none of them.

    Raises
    ------
    OutputError
        As `atomic_file`; the former folder is then still there.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        yield temporary
        temporary.chmod(0o777 & ~_UMASK)
        if path.is_dir():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
            path.replace(old / path.name)
            try:
                temporary.replace(path)
            except OSError:
                (old / path.name).replace(path)
                shutil.rmtree(old, ignore_errors=True)
                raise
            # Were one not to move, the former folder would stay, beside the new one.
            for name in keep:
                (old / path.name / name).replace(path / name)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.replace(path)
    except OSError as error:
        raise OutputError(_reason(path, error)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def sha256_file(path: Path | str) -> str:
    """Hex sha256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_folder(path: Path | str) -> str:
    """Hex sha256 of a folder's files: their places below it and their bytes, in order."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()} {sha256_file(file)}".encode())
    return digest.hexdigest()


def _reason(path: Path, error: OSError) -> str:
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"Could not write {path}: a file is in a folder's place; choose another."
    advice = "free some space or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    reason = error.strerror or str(error)
    return f"Could not write {path}: {reason}; {advice}choose another folder."

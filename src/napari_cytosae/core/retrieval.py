"""Which file is the right one: published checksums, and memory where there are none.

A model's authors publish a checksum (a Zenodo record's md5, the hub's sha256) or they do
not. Where they do, only that file is taken. Where they do not, the first file's sha256 is
remembered in ``downloads.json`` and another one is refused until the user says so.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import CytoError, DownloadError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_cytosae.core.known_models import ModelEntry

_RECORDS = "downloads.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def retrieve(
    entry: ModelEntry, path: Path, folder: Path, *, accept_change: bool = False
) -> Generator[Progress, None, Path]:
    """Bring the file of `entry` to `path`, or check the one that is there.

    Parameters
    ----------
    entry : ModelEntry
        Any but a built-in one.
    path : Path
        Where the file belongs.
    folder : Path
        The models folder, which holds the memory.
    accept_change : bool
        Take a file other than the one remembered.

    Raises
    ------
    DownloadError
        What happened; `registry.download` adds what to do.
    """
    record = read_records(folder).get(entry.name, {})
    if path.is_file() and record.get("size") == path.stat().st_size:
        return path
    try:
        checksum = yield from _published_checksum(entry)
        if path.is_file():
            yield from _take(entry, path, path, folder, checksum, accept_change)
        else:
            from napari_cytosae.core.download import fetch

            arrived = yield from fetch(
                entry.url,
                path.with_name(path.name + ".new"),
                checksum=checksum,
                stage=f"Downloading {entry.name}",
            )
            yield from _take(entry, arrived, path, folder, checksum, accept_change)
        yield from _fetch_beside(entry, path)
    except (CytoError, OSError) as error:
        reason = str(error).rstrip(".")
        raise DownloadError(f"Could not get {entry.name}: {reason}.") from error
    return path


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what is remembered of each download: sha256, size, url, date."""
    try:
        content = json.loads((folder / _RECORDS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    records = content.get("models") if isinstance(content, dict) else None
    return records if isinstance(records, dict) else {}


def remember(folder: Path, name: str, sha256: str, size: int, url: str) -> None:
    """Note which file stands for `name` from now on."""
    records = read_records(folder)
    records[name] = {
        "sha256": sha256,
        "size": size,
        "url": url,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with atomic_file(folder / _RECORDS) as temporary:
        temporary.write_text(
            json.dumps({"schema": 1, "models": records}, indent=2, sort_keys=True), "utf-8"
        )


def changed(entry: ModelEntry, folder: Path, sha256: str) -> str:
    """Return a sentence when `sha256` is not what stood for this name before, else ""."""
    record = read_records(folder).get(entry.name)
    if record is None or record.get("sha256") == sha256:
        return ""
    return (
        f"this is not the file remembered since {str(record.get('date'))[:10]} (sha256 "
        f"{sha256} instead of {record.get('sha256')}); if you trust the new one, run "
        f"`napari-cytosae models get {entry.name} --accept-change`"
    )


def _take(
    entry: ModelEntry,
    arrived: Path,
    path: Path,
    folder: Path,
    checksum: str,
    accept_change: bool,
) -> Generator[Progress, None, None]:
    """Check the file `arrived`, put it at `path` and remember it."""
    from napari_cytosae.core.download import file_hash

    yield Progress(f"Checking {entry.name}", 0, 0, "MB")
    sha256 = file_hash(arrived, "sha256")
    algorithm, _, expected = checksum.partition(":")
    if expected:
        # A fetched file has been checked on arrival, one put here by hand has not.
        if arrived == path and file_hash(path, algorithm) != expected:
            raise DownloadError(
                f"the file in {path.parent} is not the published one ({algorithm} is not "
                f"{expected}); delete it"
            )
    elif not accept_change and (sentence := changed(entry, folder, sha256)):
        if arrived != path:
            arrived.unlink()
        raise DownloadError(sentence)
    size = arrived.stat().st_size
    if arrived != path:
        arrived.replace(path)
    remember(folder, entry.name, sha256, size, entry.url)


def _fetch_beside(entry: ModelEntry, path: Path) -> Generator[Progress, None, None]:
    """Bring the small file beside the weights, where there is one."""
    from napari_cytosae.core.download import fetch

    if not entry.beside or path.with_name(entry.beside).is_file():
        return
    address = entry.url.rpartition("/")[0] + "/" + entry.beside
    try:
        yield from fetch(address, path.with_name(entry.beside))
    except DownloadError:
        # Most weights say enough on their own; those that do not say so when opened.
        return


def _published_checksum(entry: ModelEntry) -> Generator[Progress, None, str]:
    """Ask the model's home for the checksum where it is not known here."""
    if entry.checksum or not entry.checksum_url:
        return entry.checksum
    import requests

    from napari_cytosae.core.download import CONNECT_TIMEOUT_S, READ_TIMEOUT_S

    yield Progress("Asking for the checksum", 0, 0, "MB")
    timeout = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    try:
        if entry.checksum_url == entry.url:
            # The hub names the sha256 of a large file before it redirects to its store.
            head = requests.head(entry.url, timeout=timeout, allow_redirects=False)
            head.raise_for_status()
            sha256 = head.headers.get("X-Linked-Etag", "").strip('"')
            return f"sha256:{sha256}" if _SHA256.fullmatch(sha256) else ""
        answer = requests.get(entry.checksum_url, timeout=timeout)
        answer.raise_for_status()
        files = {file["key"]: file["checksum"] for file in json.loads(answer.text)["files"]}
        return f"md5:{files[entry.filename].removeprefix('md5:')}"
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        what = f"answered {status}" if status else "could not be reached"
        raise DownloadError(
            f"the server that publishes its checksum {what} ({entry.checksum_url})"
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DownloadError(
            f"its checksum is not where it should be ({entry.checksum_url})"
        ) from error

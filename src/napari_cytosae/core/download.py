"""One file over HTTP: resumed after a cut, checked, whole or not there.

`fetch` knows addresses and files, nothing of models. It is a generator, so whoever drives
it can show progress and stop at any yield; what has arrived by then is kept beside the
target (``<name>.part``) and the next call goes on from there. Proxies and certificates
come from the environment, as ``requests`` reads it (``HTTPS_PROXY``,
``REQUESTS_CA_BUNDLE``).
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pooch  # type: ignore[import-untyped]
import requests

import napari_cytosae
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import DownloadError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0
ATTEMPTS = 4
"""In a row that bring nothing, before the download is given up."""
RETRY_WAIT_S = 1.0
"""Before the first retry; doubled each time."""

_CHUNK = 1 << 15
_YIELD_EVERY_S = 0.1
_MEGABYTE = 1_000_000
_SPARE = 16 * _MEGABYTE
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class _Retry(Exception):
    """A failure that another attempt may cure; the message is what to say if none does."""


class _Restart(Exception):
    """What lies in the part file is not of the file the server has now."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The unfinished file, and notes on the one it comes from."""

    path: Path

    @property
    def notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def start(self, url: str) -> tuple[int, dict[str, Any]]:
        """Return the bytes that may be kept, and the notes they were written with."""
        try:
            notes = json.loads(self.notes.read_text("utf-8"))
            size = self.path.stat().st_size
        except (OSError, ValueError):
            return 0, {}
        if not isinstance(notes, dict) or notes.get("url") != url:
            return 0, {}
        return size, notes

    def note(self, url: str, response: requests.Response, total: int) -> None:
        """Remember which version of the file the bytes belong to."""
        tag = response.headers.get("ETag", "")
        validator = "" if tag.startswith("W/") else tag
        validator = validator or response.headers.get("Last-Modified", "")
        with atomic_file(self.notes) as temporary:
            temporary.write_text(
                json.dumps({"url": url, "total": total, "validator": validator}), "utf-8"
            )

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def fetch(
    url: str, target: Path, *, checksum: str = "", stage: str = "Downloading"
) -> Generator[Progress, None, Path]:
    """Bring `url` to `target`; an existing file is replaced only by a whole, checked one.

    Parameters
    ----------
    url : str
        http or https; redirects are followed, though never from https to http.
    target : Path
        Its folder is made when missing.
    checksum : str
        ``sha256:<hex>`` or ``md5:<hex>``; empty: unchecked.
    stage : str
        Shown before the counts, which are in MB (10^6 bytes).

    Raises
    ------
    DownloadError
        With the reason alone: the caller knows what to advise. A part file that may still
        be of use is kept, one with a wrong checksum is not.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target.with_name(target.name + ".part"))
    while True:
        resumed = part.start(url)[0] > 0
        yield from _bring(url, part, stage)
        if not checksum:
            break
        yield Progress("Checking", 0, 0, "MB")
        algorithm, _, expected = checksum.partition(":")
        found = file_hash(part.path, algorithm)
        if found == expected.lower():
            break
        part.remove()
        # An old part may be at fault; a file brought in one piece is simply another one.
        if not resumed:
            raise DownloadError(
                f"the file that arrived is not the published one ({algorithm} {found} "
                f"instead of {expected})"
            )
    try:
        part.path.replace(target)
    except FileNotFoundError:
        # A second process brought the same file and was first to rename it.
        if not target.is_file():
            raise
    part.remove()
    return target


def file_hash(path: Path, algorithm: str) -> str:
    """Return the hex digest of a file; `algorithm` is ``sha256`` or ``md5``."""
    return str(pooch.file_hash(str(path), alg=algorithm))


def _bring(url: str, part: _Part, stage: str) -> Generator[Progress, None, None]:
    """Try until the part file is whole."""
    failures, had = 0, 0
    while True:
        try:
            yield from _attempt(url, part, stage)
            return
        except _Restart:
            part.remove()
            continue
        except _Retry as error:
            reason = str(error)
        except requests.exceptions.SSLError as error:
            raise DownloadError(
                "the server's certificate is not trusted here; if your network inspects "
                "traffic, set REQUESTS_CA_BUNDLE to its certificate file"
            ) from error
        except requests.exceptions.ProxyError as error:
            raise DownloadError(
                "the proxy did not answer; check HTTPS_PROXY and HTTP_PROXY"
            ) from error
        except requests.exceptions.TooManyRedirects as error:
            raise DownloadError("the server redirects in circles") from error
        except requests.exceptions.Timeout:
            reason = f"the server did not answer within {READ_TIMEOUT_S:g} s"
        except (
            requests.exceptions.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
        ):
            reason = "the connection could not be made, or was cut"
        except requests.exceptions.RequestException as error:
            raise DownloadError(f"the address does not work ({error})") from error
        except OSError as error:
            raise DownloadError(_disk_reason(part.path.parent, error)) from error
        have = part.start(url)[0]
        failures = 0 if have > had else failures + 1
        had = max(had, have)
        if failures == ATTEMPTS:
            raise DownloadError(f"{reason} (tried {failures} times)")
        yield from _wait(RETRY_WAIT_S * 2 ** max(failures - 1, 0))


def _attempt(url: str, part: _Part, stage: str) -> Generator[Progress, None, None]:
    """Ask for what is missing and write it as it comes."""
    have, notes = part.start(url)
    if have and have == notes.get("total"):
        return
    headers = {
        "User-Agent": f"napari-cytosae/{napari_cytosae.__version__}",
        # Offsets must count the file's own bytes.
        "Accept-Encoding": "identity",
    }
    if have:
        headers["Range"] = f"bytes={have}-"
        if notes.get("validator"):
            headers["If-Range"] = notes["validator"]
    timeout = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise DownloadError("the server redirects to an unprotected address")
        offset, total = _where(response, have, notes)
        _check_space(part.path.parent, total - offset)
        if offset == 0:
            part.path.write_bytes(b"")
            part.note(url, response, total)
        # Written at its own offset, never appended: two processes that bring the same
        # file write the same bytes to the same places.
        with part.path.open("r+b") as stream:
            stream.seek(offset)
            done, shown = offset, 0.0
            for chunk in response.iter_content(_CHUNK):
                stream.write(chunk)
                done += len(chunk)
                if time.monotonic() - shown >= _YIELD_EVERY_S:
                    shown = time.monotonic()
                    yield _progress(stage, done, total)
        if done < total:
            raise _Retry(f"the connection was cut after {done} of {total} bytes")
        yield _progress(stage, done, total)


def _where(
    response: requests.Response, have: int, notes: dict[str, Any]
) -> tuple[int, int]:
    """Return the first byte's offset and the size of the whole file (0: untold)."""
    status = response.status_code
    if have and status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise _Restart
    if have and status == HTTPStatus.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        total = notes.get("total", 0)
        if match is None or int(match[1]) != have or (total and match[2] != str(total)):
            raise _Restart
        return have, int(total or (0 if match[2] == "*" else match[2]))
    if status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise _Retry(f"the server answered {status} ({response.reason})")
    if status != HTTPStatus.OK:
        raise DownloadError(f"the server answered {status} ({response.reason})")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(
            "a web page came instead of the file (the login page of a network or proxy?)"
        )
    return 0, int(response.headers.get("Content-Length", 0))


def _check_space(folder: Path, missing: int) -> None:
    free = shutil.disk_usage(folder).free
    if missing > 0 and missing + _SPARE > free:
        raise DownloadError(
            f"{_mb(missing + _SPARE)} MB are needed in {folder} and {_mb(free)} MB are "
            "free; free some space, or set CYTOSAE_HOME to a folder on another disk"
        )


def _disk_reason(folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return (
            f"the disk of {folder} is full; free some space, or set CYTOSAE_HOME to a "
            "folder on another disk"
        )
    return f"{folder} cannot be written ({error.strerror or error})"


def _wait(seconds: float) -> Generator[Progress, None, None]:
    """Wait before another attempt, in steps short enough to be cancelled."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        yield Progress("Connection lost, trying again", 0, 0, "MB")
        time.sleep(min(left, _YIELD_EVERY_S))


def _mb(size: int) -> int:
    """Whole megabytes, rounded up."""
    return -(-size // _MEGABYTE)


def _progress(stage: str, done: int, total: int) -> Progress:
    return Progress(stage, _mb(done), _mb(total), "MB")

"""Downloads against a real HTTP server on loopback that misbehaves on purpose."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import socketserver
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from napari_cytosae.core import download
from napari_cytosae.core.download import fetch
from napari_cytosae.core.types import DownloadError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 8192  # 2 MiB: several chunks
CUT = 18 * 32_768
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()


class Misbehaving(BaseHTTPRequestHandler):
    """Serves `BODY`; the path says how."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Server = self.server  # type: ignore[assignment]
        server.requests.append((self.path, self.headers.get("Range")))
        if self.path in server.plans:
            plan = server.plans[self.path]
            action = plan.pop(0) if len(plan) > 1 else plan[0]
        else:
            action = "whole"
        getattr(self, f"serve_{action}")()

    def serve_whole(self, cut: int | None = None, tag: str = '"v1"') -> None:
        body = self.server.body  # type: ignore[attr-defined]
        start = 0
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and self.headers.get("If-Range", tag) == tag:
            start = int(match[1])
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", tag)
        self.end_headers()
        end = len(body) if cut is None else min(start + cut, len(body))
        self.wfile.write(body[start:end])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True

    def serve_cut(self) -> None:
        self.serve_whole(cut=CUT)

    def serve_ignoring_range(self) -> None:
        del self.headers["Range"]
        self.serve_whole()

    def serve_new_version(self) -> None:
        self.serve_whole(tag='"v2"')

    def serve_404(self) -> None:
        self.send_error(404)

    def serve_500(self) -> None:
        self.send_error(500)

    def serve_redirect(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def serve_circle(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def serve_silence(self) -> None:
        self.server.stopped.wait(5)  # type: ignore[attr-defined]
        self.close_connection = True

    def serve_stall(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:300_000])
        self.wfile.flush()
        self.server.stopped.wait(5)  # type: ignore[attr-defined]
        self.close_connection = True

    def serve_login_page(self) -> None:
        page = b"<html>Please log in</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Misbehaving)
        self.body = BODY
        self.plans: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.stopped = threading.Event()

    def server_bind(self) -> None:
        # Without HTTPServer's look-up of the machine's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)

    def url(self, *actions: str) -> str:
        """Address that answers with `actions` in turn, the last one for ever."""
        path = "/" + "-".join(actions)
        self.plans[path] = list(actions)
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def handle_error(self, *args: object) -> None:
        """Clients that hang up are what these tests are about."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "RETRY_WAIT_S", 0.01)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    thread.join()
    server.server_close()


def drain(job: Generator[object, None, Path]) -> Path:
    while True:
        try:
            next(job)
        except StopIteration as stop:
            return stop.value


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_file_with_progress_in_mb(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "weights.pt"
    steps = list(fetch(server.url("whole"), target, checksum=SHA256, stage="Getting x"))
    assert target.read_bytes() == BODY
    assert leftovers(target.parent) == ["weights.pt"]
    counted = [step for step in steps if step.stage == "Getting x"]
    assert [step.done for step in counted] == sorted(step.done for step in counted)
    assert (counted[-1].done, counted[-1].total, counted[-1].unit) == (3, 3, "MB")


def test_cut_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    drain(fetch(server.url("cut"), target, checksum=SHA256))
    assert target.read_bytes() == BODY
    offsets = [asked for _, asked in server.requests]
    assert offsets[:2] == [None, f"bytes={CUT}-"]
    assert len(offsets) == 4  # 2,097,152 bytes in pieces of `CUT`


def test_the_next_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    url = server.url("cut", "500")
    with pytest.raises(DownloadError, match="500"):
        drain(fetch(url, target))
    assert not target.exists()
    assert leftovers(tmp_path) == ["weights.pt.part", "weights.pt.part.json"]
    server.plans["/cut-500"] = ["whole"]
    server.requests.clear()
    drain(fetch(url, target, checksum=SHA256))
    assert server.requests == [("/cut-500", f"bytes={CUT}-")]
    assert target.read_bytes() == BODY


def test_cancel_keeps_what_has_arrived(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    url = server.url("whole")
    job = fetch(url, target, checksum=SHA256)
    next(job)
    job.close()
    assert 0 < (tmp_path / "weights.pt.part").stat().st_size < len(BODY)
    assert not target.exists()
    drain(fetch(url, target, checksum=SHA256))
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("second", ["ignoring_range", "new_version"])
def test_a_server_that_starts_over_is_followed(
    server: Server, tmp_path: Path, second: str
) -> None:
    target = tmp_path / "weights.pt"
    drain(fetch(server.url("cut", second), target, checksum=SHA256))
    assert target.read_bytes() == BODY


def test_a_shorter_new_file_does_not_trap_the_old_part(
    server: Server, tmp_path: Path
) -> None:
    target = tmp_path / "weights.pt"
    url = server.url("cut", "500")
    with pytest.raises(DownloadError):
        drain(fetch(url, target))
    server.plans["/cut-500"] = ["whole"]
    server.body = BODY[:1000]
    drain(fetch(url, target))
    assert target.read_bytes() == BODY[:1000]


def test_404_is_final(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="404"):
        drain(fetch(server.url("404"), tmp_path / "weights.pt"))
    assert len(server.requests) == 1


def test_500_is_tried_again(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    drain(fetch(server.url("500", "500", "whole"), target, checksum=SHA256))
    assert target.read_bytes() == BODY
    with pytest.raises(DownloadError, match=r"500 .*tried 4 times"):
        drain(fetch(server.url("500"), tmp_path / "never.pt"))


@pytest.mark.parametrize("action", ["silence", "stall"])
def test_a_server_that_hangs_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(download, "READ_TIMEOUT_S", 0.1)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    with pytest.raises(DownloadError, match=r"(did not answer|cut).*tried 2 times"):
        drain(fetch(server.url(action), tmp_path / "weights.pt"))


def test_nobody_listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRY_WAIT_S", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DownloadError, match="connection could not be made"):
        drain(fetch("http://127.0.0.1:9/weights.pt", tmp_path / "weights.pt"))


def test_wrong_checksum_keeps_the_old_file(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    target.write_bytes(b"the good old one")
    wrong = "md5:" + "0" * 32
    with pytest.raises(DownloadError, match=hashlib.md5(BODY).hexdigest()):
        drain(fetch(server.url("whole"), target, checksum=wrong))
    assert target.read_bytes() == b"the good old one"
    assert leftovers(tmp_path) == ["weights.pt"]


def test_a_spoilt_part_is_brought_anew(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    url = server.url("cut", "500")
    with pytest.raises(DownloadError):
        drain(fetch(url, target))
    part = tmp_path / "weights.pt.part"
    part.write_bytes(b"\xff" * part.stat().st_size)
    server.plans["/cut-500"] = ["whole"]
    drain(fetch(url, target, checksum=SHA256))
    assert target.read_bytes() == BODY


def test_redirect_is_followed_a_circle_is_not(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    drain(fetch(server.url("redirect"), target, checksum=SHA256))
    assert target.read_bytes() == BODY
    with pytest.raises(DownloadError, match="circles"):
        drain(fetch(server.url("circle"), target))


def test_a_login_page_is_not_weights(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="web page"):
        drain(fetch(server.url("login_page"), tmp_path / "weights.pt"))


def test_too_little_space_is_told_before_the_first_byte(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 90, 10_000_000))
    with pytest.raises(DownloadError, match=r"19 MB are needed .* 10 MB are free"):
        drain(fetch(server.url("whole"), tmp_path / "weights.pt"))
    assert leftovers(tmp_path) == []


def test_a_disk_that_fills_up_meanwhile(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes go to /dev/full, where every write fails as on a full disk."""
    full = tmp_path / "weights.pt.part"
    try:
        full.symlink_to("/dev/full")
        full.write_bytes(b"x")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            pytest.skip("no /dev/full here")
    with pytest.raises(DownloadError, match="is full; free some space"):
        drain(fetch(server.url("whole"), tmp_path / "weights.pt"))


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pt.part").mkdir()
    with pytest.raises(DownloadError, match="cannot be written"):
        drain(fetch(server.url("whole"), tmp_path / "weights.pt"))

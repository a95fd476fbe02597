"""Names to files, downloads by name, and packs, against a real server on loopback."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import zipfile
from collections import namedtuple
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

import pytest

from napari_cytosae.core import download as transfer
from napari_cytosae.core import known_models, packing, registry
from napari_cytosae.core.packing import pack, unpack
from napari_cytosae.core.registry import (
    backbone_for,
    download,
    find_entry,
    list_models,
    location,
    models_folder,
    resolve,
)
from napari_cytosae.core.types import CheckpointError, DownloadError, OutputError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

BACKBONE = b"backbone weights " * 1000
SAE = b"sparse autoencoder weights " * 1000
HUB = b"weights from the hub " * 1000
HUB_ID = "someone/vit_tiny_patch14_224.test"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def drain(job: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(job)
        except StopIteration as stop:
            return stop.value


class Handler(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if self.command == "HEAD" and path.name == "model.safetensors":
            self.send_header("X-Linked-Etag", f'"{sha256(path.read_bytes())}"')
        super().end_headers()

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        # Without HTTPServer's look-up of the machine's name, which can take seconds.
        TCPServer.server_bind(self)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def site(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served on loopback in the place of Zenodo, the authors' site and the hub."""
    site = tmp_path / "site"
    hub = site / HUB_ID / "resolve" / "main"
    hub.mkdir(parents=True)
    (hub / "model.safetensors").write_bytes(HUB)
    (hub / "config.json").write_text('{"architecture": "vit_tiny_patch14_224"}')
    (site / "DinoBloom-B.pth").write_bytes(BACKBONE)
    (site / "sae.pt").write_bytes(SAE)
    md5 = hashlib.md5(BACKBONE).hexdigest()
    (site / "record").write_text(
        json.dumps({"files": [{"key": "DinoBloom-B.pth", "checksum": f"md5:{md5}"}]})
    )
    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    urls = {
        "dinobloom-b": {"url": f"{base}/DinoBloom-B.pth", "checksum_url": f"{base}/record"},
        "cytosae": {"url": f"{base}/sae.pt", "filename": "sae.pt"},
    }
    here = tuple(replace(entry, **urls.get(entry.name, {})) for entry in known_models.KNOWN)
    monkeypatch.setattr(registry, "KNOWN", here)
    monkeypatch.setattr(transfer, "RETRY_WAIT_S", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", base)
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


# --- names ----------------------------------------------------------------------------


def test_published_addresses() -> None:
    """As in the authors' own READMEs."""
    assert (
        find_entry("dinobloom-b").url
        == "https://zenodo.org/records/10908163/files/DinoBloom-B.pth"
    )
    assert find_entry("cytosae").url == (
        "https://nefeli.helmholtz-munich.de/records/fdn7v-4vt65/files/"
        "final_sparse_autoencoder_dinov2_vitb14_-2_resid_49152.pt?download=1"
    )
    for letter in "sblg":
        assert (
            find_entry(f"dinobloom-{letter}").filename == f"DinoBloom-{letter.upper()}.pth"
        )


@pytest.mark.parametrize("prefix", ["hf-hub:", "hf_hub:", ""])
def test_hub_ids(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    entry = find_entry(f"{prefix}1aurent/vit_base_patch14_224.dinobloom")
    assert entry.name == "hf-hub:1aurent/vit_base_patch14_224.dinobloom"
    assert entry.url == (
        "https://huggingface.co/1aurent/vit_base_patch14_224.dinobloom/resolve/main/"
        "model.safetensors"
    )
    assert entry.checksum.endswith(
        "37d7c42f6ac8adea355b6cbf4d2a74c5c8de6d292fed909be793328572106334"
    )
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert find_entry(entry.name).url.startswith("https://mirror.example/1aurent/")


def test_resolve_takes_paths_names_and_dropped_files(home: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"x")
    assert resolve(mine, "sae") == mine
    assert resolve(str(mine), "backbone") == mine
    home.mkdir(parents=True)
    dropped = home / "my-sae.safetensors"
    dropped.write_bytes(b"x")
    assert resolve("my-sae", "sae") == resolve("my-sae.safetensors", "sae") == dropped
    placed = location(find_entry("dinobloom-b"))
    placed.parent.mkdir()
    placed.write_bytes(b"x")
    assert resolve("DinoBloom-B", "backbone") == placed


def test_resolve_never_downloads_but_says_how(home: Path) -> None:
    with pytest.raises(CheckpointError, match="napari-cytosae models get cytosae"):
        resolve("cytosae", "sae")
    with pytest.raises(CheckpointError, match="models get hf-hub:a/b"):
        resolve("a/b", "backbone")
    assert not home.exists()


@pytest.mark.parametrize(
    ("reference", "role", "message"),
    [
        (
            "cytosae",
            "backbone",
            "cytosae is an SAE, not a backbone; its backbone is dinobloom-b",
        ),
        ("dinobloom-b", "sae", "dinobloom-b is a backbone, not an SAE"),
        ("nonsense", "sae", "no model or file 'nonsense': give one of cytosae, starter"),
        ("owner/name", "sae", "backbones only"),
        ("no/such.pt", "sae", "There is no file no/such.pt"),
        (Path("no/such"), "sae", "There is no file no/such"),
    ],
)
def test_resolve_says_what_is_wrong(
    home: Path, reference: str | Path, role: Any, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        resolve(reference, role)


def test_backbone_that_goes_with_an_sae() -> None:
    assert backbone_for("cytosae") == "dinobloom-b"
    assert backbone_for("starter") == backbone_for("mine.pt") == "starter"


def test_list_tells_what_is_where(home: Path) -> None:
    states = {(s.entry.name, s.entry.role): s.state for s in list_models()}
    assert states["cytosae", "sae"] == states["dinobloom-g", "backbone"] == "not here"
    assert ("hf-hub:1aurent/vit_small_patch14_224.dinobloom", "backbone") in states
    home.mkdir(parents=True)
    (home / "mine.safetensors").write_bytes(b"12345")
    (home / "notes.txt").write_bytes(b"no weights")
    *_, last = list_models()
    assert (last.entry.name, last.state, last.size) == ("mine", "local", 5)


# --- downloads ------------------------------------------------------------------------


def test_cytosae_brings_its_backbone(site: Path, home: Path) -> None:
    steps = []
    job = download("cytosae")
    while True:
        try:
            steps.append(next(job))
        except StopIteration as stop:
            path = stop.value
            break
    assert path == resolve("cytosae", "sae")
    assert path.read_bytes() == SAE
    assert resolve("dinobloom-b", "backbone").read_bytes() == BACKBONE
    stages = dict.fromkeys(step.stage for step in steps)
    assert [stage for stage in stages if stage.startswith("Downloading")] == [
        "Downloading dinobloom-b",
        "Downloading cytosae",
    ]
    status = next(s for s in list_models() if s.entry.name == "cytosae")
    assert (status.state, status.size, status.sha256) == (
        "downloaded",
        len(SAE),
        sha256(SAE),
    )
    assert sorted(p.name for p in path.parent.iterdir()) == ["sae.pt"]


def test_a_second_get_asks_nobody(site: Path, home: Path) -> None:
    drain(download("cytosae"))
    shutil.rmtree(site)
    drain(download("cytosae"))


def test_md5_of_the_record_is_held_to(site: Path, home: Path) -> None:
    (site / "DinoBloom-B.pth").write_bytes(b"something else")
    with pytest.raises(DownloadError, match=r"not the published one \(md5") as caught:
        drain(download("dinobloom-b"))
    entry = find_entry("dinobloom-b")
    for wanted in (entry.url, entry.filename, str(location(entry).parent), "local file"):
        assert wanted in str(caught.value)
    assert not location(entry).exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("record", ["<html>", "{}", '{"files": []}', '{"files": 3}'])
def test_a_record_without_the_checksum(site: Path, home: Path, record: str) -> None:
    (site / "record").write_text(record)
    with pytest.raises(DownloadError, match="checksum is not where it should be"):
        drain(download("dinobloom-b"))


def test_a_missing_record_and_a_missing_file(site: Path, home: Path) -> None:
    (site / "DinoBloom-B.pth").unlink()
    with pytest.raises(DownloadError, match="the server answered 404"):
        drain(download("dinobloom-b"))
    (site / "record").unlink()
    with pytest.raises(DownloadError, match="publishes its checksum answered 404"):
        drain(download("dinobloom-b"))


def test_hub_checksum_comes_from_the_hub(site: Path, home: Path) -> None:
    path = drain(download(f"hf-hub:{HUB_ID}"))
    assert path.read_bytes() == HUB
    assert path == resolve(HUB_ID, "backbone")
    assert json.loads((path.parent / "config.json").read_text())["architecture"]
    listed = [s for s in list_models() if s.entry.name == f"hf-hub:{HUB_ID}"]
    assert [s.state for s in listed] == ["downloaded"]


def test_a_hub_file_without_settings_is_fine(site: Path, home: Path) -> None:
    (site / HUB_ID / "resolve" / "main" / "config.json").unlink()
    path = drain(download(HUB_ID))
    assert [entry.name for entry in path.parent.iterdir()] == ["model.safetensors"]


def test_hub_settings_travel_in_a_pack(site: Path, home: Path, tmp_path: Path) -> None:
    drain(download(HUB_ID))
    pack_file = drain(pack(f"hf-hub:{HUB_ID}", tmp_path / "hub.zip"))
    shutil.rmtree(home)
    (path,) = drain(unpack(pack_file))
    assert path.read_bytes() == HUB
    assert json.loads((path.parent / "config.json").read_text())["architecture"]


def test_a_silent_change_is_refused(site: Path, home: Path) -> None:
    drain(download("cytosae"))
    path = resolve("cytosae", "sae")
    path.unlink()
    (site / "sae.pt").write_bytes(b"another one")
    with pytest.raises(DownloadError, match="--accept-change") as caught:
        drain(download("cytosae"))
    assert sha256(SAE) in str(caught.value)
    assert sha256(b"another one") in str(caught.value)
    assert list(path.parent.iterdir()) == []
    drain(download("cytosae", accept_change=True))
    assert path.read_bytes() == b"another one"
    path.unlink()
    drain(download("cytosae"))


def test_files_put_in_place_by_hand_are_checked(site: Path, home: Path) -> None:
    path = location(find_entry("dinobloom-b"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a fi")
    with pytest.raises(DownloadError, match="is not the published one"):
        drain(download("dinobloom-b"))
    path.write_bytes(BACKBONE)
    assert drain(download("dinobloom-b")) == path
    assert next(s for s in list_models() if s.path == path).sha256 == sha256(BACKBONE)


# --- packs ----------------------------------------------------------------------------


@pytest.fixture
def packed(site: Path, home: Path, tmp_path: Path) -> Path:
    drain(download("cytosae"))
    target = drain(pack("cytosae", tmp_path / "out" / "cytosae.zip"))
    shutil.rmtree(home)
    shutil.rmtree(site)
    return target


def rewrite(source: Path, **members: bytes | None) -> None:
    """Replace (or with None leave out) members, named by the end of their names."""
    with zipfile.ZipFile(source) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for ending, new in members.items():
        name = next(n for n in content if n.replace(".", "_").endswith(ending))
        if new is None:
            del content[name]
        else:
            content[name] = new
    with zipfile.ZipFile(source, "w") as archive:
        for name, body in content.items():
            archive.writestr(name, body)


def test_a_pack_travels_without_network(packed: Path, home: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert [m["name"] for m in manifest["models"]] == ["dinobloom-b", "cytosae"]
    assert all(m["licence"] and m["citation"] for m in manifest["models"])
    paths = drain(unpack(packed))
    assert paths == [resolve("dinobloom-b", "backbone"), resolve("cytosae", "sae")]
    assert paths[0].read_bytes() == BACKBONE
    assert paths[1].read_bytes() == SAE
    drain(download("cytosae"))  # known as verified: no server is asked


def test_what_cannot_be_packed(home: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="part of the package"):
        drain(pack("starter", tmp_path / "x.zip"))
    with pytest.raises(CheckpointError, match="not on this machine"):
        drain(pack("dinobloom-b", tmp_path / "x.zip"))
    assert list(tmp_path.glob("*.zip")) == []


def test_a_damaged_pack_is_not_taken(packed: Path, home: Path) -> None:
    rewrite(packed, sae_pt=b"something else")
    with pytest.raises(CheckpointError, match=r"cytosae in cytosae\.zip is damaged"):
        drain(unpack(packed))
    assert not location(find_entry("cytosae")).exists()


def test_a_flipped_bit_in_a_pack(packed: Path, home: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[content.index(b"sparse autoencoder weights")] ^= 1
    packed.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        drain(unpack(packed))


def test_a_pack_cannot_write_elsewhere(packed: Path, home: Path, tmp_path: Path) -> None:
    """Neither by a member's path nor by a name in the manifest."""
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../../evil.txt", b"x")
    drain(unpack(packed))
    assert not list(tmp_path.rglob("evil.txt"))
    for name in ("../evil", "hf-hub:../evil", "starter", None):
        manifest = {"schema": 1, "models": [{"name": name, "sha256": "0" * 64}]}
        rewrite(packed, manifest_json=json.dumps(manifest).encode())
        with pytest.raises(CheckpointError):
            drain(unpack(packed))


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "was not written by"),
        (b"[]", "was not written by"),
        (b'{"schema": 1, "models": [3]}', "was not written by"),
        (b'{"schema": 2, "models": []}', "is of schema 2"),
        (b'{"schema": 1, "models": [{"name": "cytosae"}]}', "is void"),
        (
            b'{"schema": 1, "models": [{"name": "dinobloom-s", "sha256": "%s"}]}'
            % (b"0" * 64),
            "holds no weights of dinobloom-s",
        ),
    ],
)
def test_other_manifests(
    packed: Path, home: Path, manifest: bytes | None, message: str
) -> None:
    rewrite(packed, manifest_json=manifest)
    with pytest.raises(CheckpointError, match=message):
        drain(unpack(packed))


def test_no_pack_at_all(home: Path, tmp_path: Path, packed: Path) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        drain(unpack(tmp_path / "absent.zip"))
    packed.write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a zip file, or is cut off"):
        drain(unpack(packed))


def test_a_pack_does_not_change_a_remembered_file(
    site: Path, home: Path, tmp_path: Path
) -> None:
    drain(download("cytosae"))
    pack_of_old = drain(pack("cytosae", tmp_path / "old.zip"))
    resolve("cytosae", "sae").unlink()
    (site / "sae.pt").write_bytes(b"another one")
    drain(download("cytosae", accept_change=True))
    with pytest.raises(CheckpointError, match="--accept-change"):
        drain(unpack(pack_of_old))
    assert resolve("cytosae", "sae").read_bytes() == b"another one"
    drain(unpack(pack_of_old, accept_change=True))
    assert resolve("cytosae", "sae").read_bytes() == SAE


def test_unpacking_onto_a_small_disk(
    packed: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: usage(100, 90, 10))
    with pytest.raises(OutputError, match="free some space"):
        drain(unpack(packed))


def test_folder_without_cytosae_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYTOSAE_HOME", raising=False)
    assert models_folder().parts[-2:] == ("napari-cytosae", "models")

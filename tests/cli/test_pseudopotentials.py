"""`aiida-dmi setup` and pseudopotentials: from a folder, an archive, the network, or without one."""

import hashlib
import http.server
import io
import json
import shutil
import socket
import tarfile
import threading
from typing import ClassVar

import pytest
from aiida_pseudo.groups.family import PseudoDojoFamily

from aiida_dmi.cli.pseudopotentials import download_pseudo_dojo, ensure_pseudo_family
from aiida_dmi.engine.errors import InputError
from aiida_dmi.workflows.families import PSEUDO_DOJO, SG15, family, recommended

HARTREE = {"Co": {"low": 40.0, "normal": 45.0, "high": 50.0}, "Pt": {"low": 30.0, "normal": 36.0, "high": 42.0}}
"""Made up: no set recommends these."""


@pytest.fixture
def folder(upf_folder, tmp_path):
    """UPF files of two elements."""
    made = tmp_path / "some.set"
    made.mkdir()
    for element in HARTREE:
        shutil.copy(upf_folder / f"{element}.UPF", made / f"{element}.upf")
    return made


def djrepo(path):
    """What PseudoDojo writes beside a file."""
    hints = {key: {"ecut": value} for key, value in HARTREE[path.stem].items()}
    return json.dumps({"md5_upf": hashlib.md5(path.read_bytes()).hexdigest(), "hints": hints})


def packed(files):
    """A .tgz of names and contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_folder_with_recommended_cutoffs(no_families, folder):
    (folder / "cutoffs-hartree.json").write_text(json.dumps({**HARTREE, "W": {}}))
    (folder / "README").write_text("no pseudopotential")
    group = ensure_pseudo_family(source=folder)
    assert isinstance(group, PseudoDojoFamily)
    assert group.label == PSEUDO_DOJO
    assert recommended(group, ["Pt"]) == {"low": (60, 240), "normal": (72, 288), "high": (84, 336)}
    assert recommended(group, ["Pt", "Co"])["normal"] == pytest.approx((90, 360))
    # Repeated: what exists is used; other files under its label are not taken for it.
    assert ensure_pseudo_family(source=folder).uuid == group.uuid
    (folder / "Co.upf").write_text((folder / "Co.upf").read_text() + "\n<!-- another -->\n")
    with pytest.raises(InputError, match=r"is there and has other files than .*; give another label \(--family\)"):
        ensure_pseudo_family(source=folder)
    assert ensure_pseudo_family("mine/PBE/FR", folder).label == "mine/PBE/FR"


def test_folder_without(no_families, folder):
    """Named after the folder, never after a set that it is not known to be; cutoffs only of files that are known."""
    group = ensure_pseudo_family(source=folder)
    assert group.label == "local/some.set"
    assert recommended(group, ["Co"])
    for path in folder.iterdir():
        path.write_text(path.read_text() + "\n<!-- own -->\n")
    assert recommended(ensure_pseudo_family("own/PBE/FR", folder), ["Co"]) == {}


@pytest.mark.parametrize("kind", ["tgz", "zip", "nested.tar.gz", "aiida_pseudo"])
def test_archives(no_families, folder, tmp_path, kind):
    """Of a folder with djrepo files, flat or one level down, and what aiida-pseudo downloads."""
    upf = {path.name: path.read_bytes() for path in folder.iterdir()}
    repo = {f"{path.stem}.djrepo": djrepo(path).encode() for path in folder.iterdir()}
    archive = tmp_path / f"set.{kind}"
    if kind == "tgz":
        archive.write_bytes(packed(upf | repo))
    elif kind == "nested.tar.gz":
        archive.write_bytes(packed({f"inner/{name}": content for name, content in (upf | repo).items()}))
    elif kind == "zip":
        for name, content in repo.items():
            (folder / name).write_bytes(content)
        shutil.make_archive(str(tmp_path / "set"), "zip", folder)
    else:
        configuration = dict(zip(("version", "functional", "relativistic", "protocol", "pseudo_format"),
                                 PSEUDO_DOJO.split("/")[1:], strict=True))  # fmt: skip
        parts = {"configuration.json": json.dumps(configuration).encode(), "metadata.tgz": packed(repo)}
        archive.write_bytes(packed(parts | {"archive.tgz": packed(upf)}))
    group = ensure_pseudo_family(source=archive)
    assert (group.label, len(group.nodes)) == (PSEUDO_DOJO, 2)
    assert recommended(group, ["Co"])["high"] == pytest.approx((100, 400))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: [path.unlink() for path in folder.iterdir()], "no UPF files in"),
        (lambda folder: (folder / "cutoffs-hartree.json").write_text("{"), "cutoffs-hartree.json cannot be read"),
        (lambda folder: (folder / "cutoffs-hartree.json").write_text("[1, 2]"), "cutoffs-hartree.json cannot be read"),
        (
            lambda folder: (folder / "cutoffs-hartree.json").write_text(json.dumps({"Co": HARTREE["Co"]})),
            "no recommended cutoffs for Pt",
        ),
        (
            lambda folder: (folder / "cutoffs-hartree.json").write_text(json.dumps({"Co": 5, "Pt": {"low": 1}})),
            "recommended cutoffs: .*; expected of every element low, normal, high, Hartree",
        ),
        (
            lambda folder: [
                (folder / "Co.djrepo").write_text(djrepo(folder / "Co.upf")),
                (folder / "Co.upf").write_text((folder / "Co.upf").read_text() + " "),
            ],
            "Co.upf is not the file that Co.djrepo describes",
        ),
        (lambda folder: (folder / "Co.djrepo").write_text("{}"), "Co.djrepo cannot be read"),
        (lambda folder: (folder / "Fe.upf").write_text("no UPF"), "some.set: "),
        (lambda folder: shutil.copy(folder / "Co.upf", folder / "Co.pbe.upf"), "duplicate elements"),
    ],
)
def test_bad_folders(no_families, folder, damage, message):
    """One line, and no family."""
    damage(folder)
    with pytest.raises(InputError, match=message) as raised:
        ensure_pseudo_family(source=folder)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=r"neither .* is installed"):
        family()


# Named: what a .tgz is written in holds the second, and every worker of the tests has to find the same names.
@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", packed({"a.txt": b"text"}), packed({"../Co.upf": b"outside"})],
    ids=["empty", "no archive", "no UPF file", "a path outside"],
)
def test_bad_archives(no_families, tmp_path, content):
    archive = tmp_path / "set.tgz"
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"no archive that can be read|no UPF files in"):
        ensure_pseudo_family(source=archive)
    with pytest.raises(InputError, match="no folder or archive"):
        ensure_pseudo_family(source=tmp_path / "nothing")


class Server(http.server.BaseHTTPRequestHandler):
    """A proxy that answers for PseudoDojo's server."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        content = self.files.get(self.path.rpartition("/")[2])
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if body and content:
            self.wfile.write(content)

    def log_message(self, *_):
        """Nothing on the tests' own output."""


@pytest.fixture
def network(monkeypatch):
    """The network: a server of some files, as every program of this test sees it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use(monkeypatch, server.server_port)
    yield Server.files
    server.shutdown()
    server.server_close()
    Server.files.clear()


def use(monkeypatch, port):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")


def test_from_the_network(no_families, folder, network):
    """By aiida-pseudo's own download; md5 and cutoffs as the server says."""
    network[PseudoDojoFamily.get_url_archive(PSEUDO_DOJO).rpartition("/")[2]] = packed(
        {path.name: path.read_bytes() for path in folder.iterdir()}
    )
    metadata = PseudoDojoFamily.get_url_metadata(PSEUDO_DOJO).rpartition("/")[2]
    with pytest.raises(InputError, match=f"{PSEUDO_DOJO}: aiida-pseudo said: .*404"):
        download_pseudo_dojo()
    network[metadata] = packed({f"{path.stem}.djrepo": djrepo(path).encode() for path in folder.iterdir()})
    group = download_pseudo_dojo()
    assert isinstance(group, PseudoDojoFamily)
    assert recommended(group, ["Co"])["low"] == pytest.approx((80, 320))
    # It goes before the set that needs no network from now on.
    assert ensure_pseudo_family().uuid == group.uuid


def test_without_a_network(no_families, monkeypatch):
    """Nobody there, and somebody who never answers: known within seconds, nothing installed; then the package's set."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    use(monkeypatch, port)
    with pytest.raises(InputError, match=f"{PSEUDO_DOJO}: its server cannot be reached"):
        download_pseudo_dojo()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use(monkeypatch, silent.getsockname()[1])
        with pytest.raises(InputError, match=f"{PSEUDO_DOJO}: its server cannot be reached"):
            download_pseudo_dojo()
    assert ensure_pseudo_family().label == SG15

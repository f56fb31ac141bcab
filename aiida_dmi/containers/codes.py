"""Codes of programs in containers: one for every image digest, checked before it is stored.

A tag can move to another image, a digest cannot: the code holds the digest, so the provenance of a number names the
image that made it (`calculations_of_image`).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from aiida import orm
from aiida.transports import Transport

from aiida_dmi.containers.configuration import (
    PARALLEL,
    ContainerError,
    Engine,
    check_mpi,
    engine,
    find_layout,
    render,
)
from aiida_dmi.containers.probe import probe_program, probe_work_folder
from aiida_dmi.workflows.codes import CODES, ranks_inside

EXTRA = "dmi_container"
"""Extra of a code: engine, image as it was asked for, when it was verified and what was found."""
DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})$")


def setup_codes(
    engine_name: str, image: str, computer: orm.Computer, ranks: int = 1, mpi: str | None = None
) -> dict[str, orm.ContainerizedCode]:
    """Codes for all programs of an image; safe to repeat.

    They are called as their programs are everywhere, `pw@COMPUTER` and so on. A code of the same label that stands for
    something else (an earlier image, another number of ranks) is hidden and keeps its runs. Every program is started
    once through the engine, as a job would start it; if one fails, nothing changes. The computer is set to double
    quotes, so that the shell fills $PWD in.

    Parameters
    ----------
    engine_name : str
        'podman', 'docker' or 'apptainer'.
    image : str
        As for `find_layout`: a shipped description's name, or an image.
    computer : Computer
        Where the engine is.
    ranks : int
        MPI ranks of pw.x and pw2wannier90.x.
    mpi : str, optional
        Where they are started, 'inside' or 'host'; default the engine's usual way.

    Returns
    -------
    dict
        'pw', 'pw2wannier90', 'pp', 'wannier90', 'engine', as far as the image has them.

    Raises
    ------
    ContainerError
        If engine, image or program are not there or do not work, with what they said.
    """
    container = engine(engine_name)
    place = check_mpi(container, mpi, ranks)
    contents, name = find_layout(image)
    with computer.get_transport() as transport:
        workdir = computer.get_workdir().format(username=transport.whoami())
        reference, prepend = resolve_image(container, name, transport)
        arguments = {
            program: {"prepend_text": prepend, **render(container, contents, program, reference, workdir, ranks, place)}
            for program in contents.programs
        }
        _refuse_other_codes(computer, arguments)
        codes = _found_or_new(computer, arguments)
        serial = next((code for program, code in codes.items() if program not in PARALLEL), None)
        if serial is not None:
            probe_work_folder(serial, transport, workdir)
        verified = {
            program: probe_program(program, code, transport, workdir, ranks if program in PARALLEL else 1)
            for program, code in codes.items()
        }
    if not computer.get_use_double_quotes():
        computer.set_use_double_quotes(True)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"engine": container.name, "layout": contents.name, "image": name, "verified": when}
    for code in codes.values():
        code.store()
    for program, code in codes.items():
        _name(code, program)
        code.base.extras.set(EXTRA, {**about, **asdict(verified[program])})
    return codes


def resolve_image(container: Engine, image: str, transport: Transport) -> tuple[str, str]:
    """What an image is called by its digest, and lines for the job script that hold it to that.

    Parameters
    ----------
    container : Engine
    image : str
        Name of an image, or path of a .sif file on the transport's machine.
    transport : Transport

    Returns
    -------
    tuple of str
        NAME@sha256:... of a registry's image, sha256:... (the image id) of one that was built here; empty lines.
        A .sif file keeps its path, and the job checks its digest.

    Raises
    ------
    ContainerError
        If the image is not on that machine.
    """
    # AiiDA writes the name into job scripts between double quotes, where $ and ` still mean something to the shell.
    if not re.fullmatch(r"[\w./@%+=~:-]+", image):
        raise ContainerError(f"image: {image!r} was given, expected letters, digits and . / @ % + = ~ : _ - alone")
    if container.inspect:
        return _by_inspection(container, image, transport), ""
    if "://" in image:
        if not re.search(r"@sha256:[0-9a-f]{64}$", image):
            raise ContainerError(f"image: {image} can change; give NAME@sha256:DIGEST, or pull it into a .sif file")
        return image, ""
    if not image.startswith("/"):
        raise ContainerError(f"image: {image!r} was given, {container.name} needs the absolute path of a .sif file")
    status, output, error = transport.exec_command_wait(f"sha256sum {shlex.quote(image)}")
    if status:
        raise ContainerError(f"image: {image} cannot be read ({error.strip()}); make it with {container.name} build")
    digest = output.split()[0].lstrip("\\")
    check = f"sha256:{digest}"
    lines = f"# image {check}\necho {shlex.quote(f'{digest}  {image}')} | sha256sum --check --quiet - || exit 1"
    return image, lines


def _by_inspection(container: Engine, image: str, transport: Transport) -> str:
    status, output, error = transport.exec_command_wait(container.inspect.format(image=shlex.quote(image)))
    if status == 127:
        raise ContainerError(f"engine: {container.name} is not installed there; install it, or name another engine")
    if status:
        raise ContainerError(
            f"image: {container.name} cannot show {image} ({' '.join(error.split())}); "
            f"`{container.name} pull {image}`, or build it with scripts/build-image.sh"
        )
    description = json.loads(output)[0]
    # A registry's digest is the same on every machine; that of an image built here means nothing elsewhere.
    registry = [d for d in description.get("RepoDigests") or [] if re.match(r"(?!localhost/)[^/]+\.[^/]+/", d)]
    return registry[0] if registry else f"sha256:{description['Id'].removeprefix('sha256:')}"


def _refuse_other_codes(computer: orm.Computer, labels: Iterable[str]) -> None:
    """The computer's `pw` and so on must not be programs outside containers."""
    query = orm.QueryBuilder().append(orm.Computer, filters={"uuid": computer.uuid}, tag="computer")
    query.append(orm.AbstractCode, with_computer="computer", filters={"label": {"in": list(labels)}})
    others = sorted({code.label for code in query.all(flat=True) if not isinstance(code, orm.ContainerizedCode)})
    if others:
        raise ContainerError(
            f"computer: {computer.label} has codes {', '.join(others)} that run outside containers; "
            f"give a computer for the containers alone (`verdi computer duplicate {computer.label}`)"
        )


def _found_or_new(computer: orm.Computer, arguments: dict[str, dict[str, Any]]) -> dict[str, orm.ContainerizedCode]:
    """Of every program the code that was made before with these arguments, or a new one, not stored yet."""
    # All questions to the database come before the first new node.
    found = {program: _find(computer, program, values) for program, values in arguments.items()}
    return {
        program: code
        or orm.ContainerizedCode(
            label=program, computer=computer, default_calc_job_plugin=CODES[program], **arguments[program]
        )
        for program, code in found.items()
    }


def _find(computer: orm.Computer, label: str, arguments: dict[str, Any]) -> orm.ContainerizedCode | None:
    """A code of this label with these arguments, hidden (then with its pk behind the label) or not."""
    query = orm.QueryBuilder().append(orm.Computer, filters={"uuid": computer.uuid}, tag="computer")
    filters = {f"attributes.{key}": value for key, value in arguments.items() if value is not None}
    query.append(orm.ContainerizedCode, with_computer="computer", filters=filters)
    labels = re.compile(rf"{re.escape(label)}(-\d+)?$")
    return next((code for code in query.all(flat=True) if labels.match(code.label)), None)


def _name(code: orm.ContainerizedCode, label: str) -> None:
    """Give a stored code its label; another one that had it is hidden."""
    for other in codes_of(code.computer, label):
        if other.uuid != code.uuid:
            other.label = f"{label}-{other.pk}"
            other.is_hidden = True
    code.label, code.is_hidden = label, False


def codes_of(computer: orm.Computer | None = None, label: str | None = None) -> list[orm.ContainerizedCode]:
    """Stored codes in containers, of one computer or of all, with one label or with any."""
    query = orm.QueryBuilder().append(orm.Computer, filters={"uuid": computer.uuid} if computer else {}, tag="computer")
    filters = {"label": label} if label else {f"extras.{EXTRA}": {"of_type": "object"}}
    query.append(orm.ContainerizedCode, with_computer="computer", filters=filters, tag="code")
    found: list[orm.ContainerizedCode] = query.order_by({"code": {"id": "asc"}}).all(flat=True)
    return found


def job_options(codes: Mapping[str, orm.AbstractCode]) -> dict[str, Any]:
    """`options` for `get_builder_from_protocol` that fit the ranks which pw.x starts in its container.

    Parameters
    ----------
    codes : dict
        'pw' and whatever else.

    Returns
    -------
    dict
        Empty where ranks are started from outside.
    """
    ranks = ranks_inside(codes["pw"])
    if ranks is None:
        return {}
    return {"withmpi": False, "resources": {"num_machines": 1, "num_mpiprocs_per_machine": ranks}}


def digest_of(code: orm.ContainerizedCode) -> str:
    """The image digest in a code, 'sha256:...'; empty for a code that names a tag."""
    match = re.search(r"sha256:[0-9a-f]{64}", f"{code.image_name}\n{code.prepend_text}")
    return match[0] if match else ""


def calculations_of_image(digest: str) -> list[orm.CalcJobNode]:
    """All calculations that ran in an image.

    Parameters
    ----------
    digest : str
        'sha256:...' or its hexadecimal digits, at least the first 12.

    Returns
    -------
    list of CalcJobNode
        Oldest first.

    Raises
    ------
    ContainerError
        If this is no digest.
    """
    match = DIGEST.match(digest)
    if match is None:
        raise ContainerError(f"digest: {digest!r} was given, expected sha256: and 12 to 64 hexadecimal digits")
    pattern = {"like": f"%sha256:{match[1]}%"}
    query = orm.QueryBuilder().append(
        orm.ContainerizedCode,
        filters={"or": [{"attributes.image_name": pattern}, {"attributes.prepend_text": pattern}]},
        tag="code",
    )
    query.append(orm.CalcJobNode, with_incoming="code", tag="job")
    found: list[orm.CalcJobNode] = query.order_by({"job": {"id": "asc"}}).distinct().all(flat=True)
    return found

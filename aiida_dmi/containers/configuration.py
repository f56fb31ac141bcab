"""From the shipped YAML to the arguments of AiiDA's `core.code.containerized`; no AiiDA needed.

`engines/*.yaml` say how podman, docker and apptainer start a program, `images/*.yaml` where an image has its programs.
AiiDA fills {image_name} in and splits the command at blanks; {workdir}, {options} and {launcher} are filled in here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from aiida_dmi.engine.files.yaml_text import load_yaml

PARALLEL = ("pw", "pw2wannier90")
"""Programs that are started as MPI ranks; dmi-engine has worker processes, wannier90.x and pp.x take seconds."""
PLACES = ("inside", "host")


class ContainerError(ValueError):
    """A container cannot be used as asked; the message says what was given, what is expected and what to do."""


@dataclass(frozen=True)
class Engine:
    """How a container engine starts a program; one of `engines/*.yaml`.

    Attributes
    ----------
    engine_command : str
        With {workdir}, {options}, {image_name} and {launcher}.
    mpi : list of str
        Where MPI ranks can be started, of 'inside' and 'host'; the first is the default.
    inspect : str
        Command that describes {image} in JSON; empty where an image is a file.
    entrypoint, gpu : str
        Options that switch the image's entry point off, and that pass GPUs on.
    """

    name: str
    engine_command: str
    mpi: list[str]
    inspect: str = ""
    entrypoint: str = ""
    gpu: str = ""


@dataclass(frozen=True)
class Layout:
    """Where an image has its programs; one of `images/*.yaml`.

    Attributes
    ----------
    image : str
        Its usual name.
    repository : str
        End of the repository names that it is recognised by.
    programs : dict
        'pw', 'pw2wannier90', 'pp', 'wannier90', 'engine' (as far as it has them) to the path in the image.
    mpirun : str
        How {ranks} ranks are started inside.
    environment : dict
        What has to be set in the container.
    keep_entrypoint, gpu : bool
        Whether the entry point is left in place, and whether its programs need a GPU.
    """

    name: str
    image: str
    repository: str
    programs: dict[str, str]
    mpirun: str
    environment: dict[str, str] = field(default_factory=dict)
    keep_entrypoint: bool = True
    gpu: bool = False


def engine(name: str) -> Engine:
    """The shipped configuration of a container engine.

    Raises
    ------
    ContainerError
        If there is none of this name.
    """
    return Engine(name=name, **_read("engines", name, "engine"))


def layout(name: str) -> Layout:
    """The shipped description of an image.

    Raises
    ------
    ContainerError
        If there is none of this name.
    """
    return Layout(name=name, **_read("images", name, "layout"))


def available(kind: str) -> list[str]:
    """Names of what is shipped: `kind` is 'engines' or 'images'."""
    folder = files(__package__) / kind
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def find_layout(image: str) -> tuple[Layout, str]:
    """Which of the shipped descriptions fits, and the image's name.

    Parameters
    ----------
    image : str
        Name of a shipped description ('aiida-dmi'), which stands for its usual image, or an image: a name, with tag or
        digest, or the path of a .sif file. An image under a name of one's own is taken to have its programs on PATH,
        as that of `containers/Containerfile` has.
    """
    known = {name: layout(name) for name in available("images")}
    if image in known:
        return known[image], known[image].image
    repository = re.sub(r":[^/:]*$", "", image.partition("://")[2].partition("@")[0] or image.partition("@")[0])
    for candidate in known.values():
        if f"/{repository}".endswith(f"/{candidate.repository}"):
            return candidate, image
    return known["aiida-dmi"], image


def check_mpi(container: Engine, place: str | None, ranks: int) -> str:
    """Where the ranks are started: the given place, or the engine's usual one.

    Raises
    ------
    ContainerError
        For a host mpirun in front of podman or docker: it would start one container a rank, and in each of them a
        program that believes to be alone; they all write into the same folder, and nothing says so.
    """
    if ranks < 1:
        raise ContainerError(f"np: {ranks} was given, expected 1 or more")
    if place is None:
        return container.mpi[0]
    if place not in PLACES:
        raise ContainerError(f"mpi: {place!r} was given, expected one of {', '.join(PLACES)}")
    if place not in container.mpi:
        raise ContainerError(
            f"mpi: 'host' was given, but mpirun in front of {container.name} starts independent runs of one rank each, "
            "all in one folder; leave it at 'inside' (the ranks start in the container), or take apptainer"
        )
    return place


def render(
    container: Engine,
    image: Layout,
    program: str,
    image_name: str,
    workdir: str,
    ranks: int = 1,
    mpi: str | None = None,
) -> dict[str, Any]:
    """Arguments of `core.code.containerized` for one program.

    Parameters
    ----------
    container, image : Engine, Layout
    program : str
        'pw', 'pw2wannier90', 'pp', 'wannier90' or 'engine'.
    image_name : str
        What the engine is to run: a digest, or a .sif file.
    workdir : str
        The computer's work folder. It is bound at the same path, so that the absolute links between job folders hold.
    ranks : int
        MPI ranks of pw.x and pw2wannier90.x that are started inside.
    mpi : str, optional
        'inside' or 'host'; default the engine's usual one.

    Returns
    -------
    dict
        engine_command, image_name, filepath_executable, with_mpi (False where ranks start inside or a host mpirun would
        do harm; None leaves it to the job).

    Raises
    ------
    ContainerError
        If the image lacks the program, the work folder cannot be bound, or the MPI is refused (`check_mpi`).
    """
    if program not in image.programs:
        raise ContainerError(f"{image.name} has no {program}, only {', '.join(image.programs)}; take another image")
    place = check_mpi(container, mpi, ranks)
    launcher = image.mpirun.format(ranks=ranks) if place == "inside" and program in PARALLEL else ""
    return {
        "engine_command": _command(container, image, workdir, launcher),
        "image_name": image_name,
        "filepath_executable": image.programs[program],
        "with_mpi": False if "host" not in container.mpi or launcher else None,
    }


def _command(container: Engine, image: Layout, workdir: str, launcher: str) -> str:
    """The engine's command with everything but {image_name} filled in."""
    if not re.fullmatch(r"/[\w./@%+=~-]*", workdir):
        raise ContainerError(
            f"work folder: {workdir!r} cannot be bound into a container; give the computer an absolute one of letters, "
            "digits and . / @ % + = ~ _ - alone: others mean something to a shell or to the container's engine"
        )
    options = [f"--env={key}={value}" for key, value in image.environment.items()]
    options += [] if image.keep_entrypoint else [container.entrypoint]
    options += [container.gpu] if image.gpu else []
    values = {"workdir": workdir, "options": " ".join(options), "launcher": launcher}
    return " ".join(_fill(container.engine_command, values).split())


def _fill(template: str, values: Mapping[str, str]) -> str:
    # Not str.format: {image_name} has to stay for AiiDA.
    for key, value in values.items():
        template = template.replace(f"{{{key}}}", value)
    return template


def _read(kind: str, name: str, what: str) -> dict[str, Any]:
    if name not in available(kind):
        raise ContainerError(f"{what}: {name!r} was given, expected one of {', '.join(available(kind))}")
    content: dict[str, Any] = load_yaml((files(__package__) / kind / f"{name}.yaml").read_text(encoding="utf-8"))
    return content

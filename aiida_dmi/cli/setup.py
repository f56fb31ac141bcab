"""The one place that makes profile, computer and codes; `pseudopotentials` makes families.

`make demo`, the tests and users (`aiida-dmi setup`) all go through these functions; each of them is safe to
repeat: what exists is used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.manage.configuration import create_profile, get_config, load_profile
from aiida.plugins import BrokerFactory

from aiida_dmi.cli import BAD_INPUT
from aiida_dmi.workflows.codes import CODES

PROFILE = "aiida-dmi"
COMPUTER = "dmi-localhost"
EXECUTABLES = {
    "pw": "pw.x",
    "pw2wannier90": "pw2wannier90.x",
    "pp": "pp.x",
    "wannier90": "wannier90.x",
    "engine": "dmi-engine",
}
MOST_RANKS = 4
"""MPI ranks a job by default at most: a thin film on one machine has no use for more."""


class SetupError(click.ClickException):
    """Something the setup needs is missing; the message says what and what to do."""

    exit_code = BAD_INPUT


def ensure_profile(
    name: str = PROFILE, storage: str = "core.sqlite_dos", configuration: dict[str, Any] | None = None
) -> str:
    """Load the profile, making it (SQLite, ZeroMQ broker: no server) where it does not exist.

    Parameters
    ----------
    name : str
    storage : str
        Entry point of the storage of a new profile.
    configuration : dict, optional
        Of that storage.

    Returns
    -------
    str
        One line on what was done.
    """
    config = get_config(create=True)
    if name in config.profile_names:
        load_profile(name, allow_switch=True)
        return f"profile {name} (exists) in {config.dirpath}"
    broker = "core.zeromq"
    profile = create_profile(
        config,
        name=name,
        email="aiida-dmi@localhost",
        storage_backend=storage,
        storage_config=configuration or {},
        broker_backend=broker,
        broker_config=BrokerFactory(broker).get_default_config(),
    )
    config.set_option("runner.poll.interval", 1, scope=profile.name)
    # AiiDA's two seconds make `verdi daemon stop` fail where the machine is busy.
    config.set_option("daemon.timeout", 60, scope=profile.name)
    config.set_default_profile(profile.name, overwrite=False)
    config.store()
    load_profile(name, allow_switch=True)
    return f"profile {name} (made) in {config.dirpath}"


def ensure_computer(label: str = COMPUTER, workdir: str | Path | None = None) -> orm.Computer:
    """The local machine with an mpirun that works here (as root too).

    Parameters
    ----------
    label : str
    workdir : path, optional
        Scratch folder; default `scratch` beside the AiiDA configuration.
    """
    try:
        return orm.load_computer(label)
    except NotExistent:
        pass  # made below
    computer = orm.Computer(
        label=label,
        hostname="localhost",
        description="this machine, made by aiida-dmi setup",
        transport_type="core.local",
        scheduler_type="core.direct",
        workdir=str(Path(workdir or Path(get_config().dirpath) / "scratch").absolute()),
    ).store()
    computer.set_mpirun_command(mpirun_command())
    computer.set_default_mpiprocs_per_machine(min(len(os.sched_getaffinity(0)), MOST_RANKS))
    computer.set_minimum_job_poll_interval(1)
    computer.configure(safe_interval=0)
    return computer


def mpirun_command() -> list[str]:
    """How this machine starts MPI ranks.

    Open MPI refuses to run as root, and to start more ranks than it sees cores, unless told otherwise.
    """
    command = ["mpirun", "-np", "{tot_num_mpiprocs}"]
    if shutil.which("mpirun") is None:
        return command
    version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=False).stdout
    if "Open MPI" in version:
        extra = ["--oversubscribe"] + (["--allow-run-as-root"] if os.geteuid() == 0 else [])
        command = ["mpirun", *extra, "-np", "{tot_num_mpiprocs}"]
    return command


def ensure_codes(computer: orm.Computer, given: Mapping[str, str] | None = None) -> dict[str, orm.AbstractCode]:
    """Codes for pw.x, pw2wannier90.x, pp.x, wannier90.x and dmi-engine as found on this machine.

    Parameters
    ----------
    computer : Computer
    given : mapping, optional
        Full paths of programs that are not to be looked for on PATH.

    Raises
    ------
    SetupError
        Naming the programs that are not there.
    """
    paths = {name: find_executable(executable) for name, executable in EXECUTABLES.items()}
    for name, path in (given or {}).items():
        if not (os.path.isfile(path) and os.access(path, os.X_OK)):
            raise SetupError(f"{name}: {path} is no program; give the full path of {EXECUTABLES[name]}")
        paths[name] = os.path.abspath(path)
    missing = [EXECUTABLES[name] for name, path in paths.items() if path is None]
    if missing:
        raise SetupError(
            f"not found on PATH: {', '.join(missing)}; install them (Debian, Ubuntu: apt-get install quantum-espresso "
            "wannier90), or set up codes by hand with `verdi code create`"
        )
    return {name: _ensure_code(name, CODES[name], str(path), computer) for name, path in paths.items()}


def find_executable(name: str) -> str | None:
    """Full path of a program: beside this Python first (dmi-engine), then on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else shutil.which(name)


def _ensure_code(label: str, plugin: str, path: str, computer: orm.Computer) -> orm.AbstractCode:
    try:
        code = orm.load_code(f"{label}@{computer.label}")
    except NotExistent:
        pass  # made below
    else:
        if str(code.filepath_executable) == path:
            return code
        # Codes are immutable: another path is another code, and the old one keeps its runs.
        code.label = f"{label}-{code.pk}"
        code.is_hidden = True
    return orm.InstalledCode(
        label=label, computer=computer, filepath_executable=path, default_calc_job_plugin=plugin
    ).store()

"""A profile with its daemon, on SQLite or on a PostgreSQL of its own, in folders that are gone afterwards.

What benchmarks/scale.py runs in. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

PROFILE = "scale"
MODEL = Path(__file__).resolve().parents[1] / "tests" / "data" / "copt11.h5"
SILENCE = 900.0
"""Seconds without any line of a command after which it counts as stuck; the controller speaks every minute."""
POSTGRES = ("initdb", "pg_ctl", "postgres")
PR_SET_CHILD_SUBREAPER = 36


class ScaleError(Exception):
    """Something that must hold does not."""


# -- processes ---------------------------------------------------------------------------------------------


class Processes:
    """Commands in an environment of their own, and the processor time of whatever they leave behind.

    Jobs and daemons outlive the process that started them; they become children of this one (Linux: subreaper), which
    waits for them and learns from the kernel what they used.
    """

    def __init__(self, folder: Path) -> None:
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise ScaleError(f"prctl: {os.strerror(ctypes.get_errno())}")
        self.folder = folder
        self.orphans = 0.0
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "AIIDA_PATH": str(folder), "PATH": path, "OMP_NUM_THREADS": "1"}
        self.environment.pop("AIIDA_PROFILE", None)

    def run(
        self, *command: Any, watch: Callable[[str], None] = lambda text: None, ok: tuple[int, ...] = (0,)
    ) -> dict[str, Any]:
        """Run a command to its end: its output, and wall time (s), processor time (s), peak memory (MiB)."""
        log = self.folder / "command.log"
        began = spoken = time.monotonic()
        text = ""
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [str(word) for word in command], env=self.environment, stdout=stream, stderr=subprocess.STDOUT
            )
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            self.reap(process.pid)
            if pid:
                break
            if (now := log.read_text(errors="replace")) != text:
                text, spoken = now, time.monotonic()
                watch(text)
            if time.monotonic() - spoken > SILENCE:
                process.kill()
                raise ScaleError(f"{command}: said nothing for {SILENCE:.0f} s; {text[-1000:]}")
            time.sleep(0.2)
        process.returncode = os.waitstatus_to_exitcode(status)
        text = log.read_text(errors="replace")
        if process.returncode not in ok:
            raise ScaleError(f"{' '.join(map(str, command))}: exit {process.returncode}: {text[-2000:]}")
        return {
            "text": text,
            "seconds": time.monotonic() - began,
            "cpu": usage.ru_utime + usage.ru_stime,
            "memory": usage.ru_maxrss / 1024,
        }

    def reap(self, *keep: int) -> None:
        """Wait for orphans that have ended, without waiting; adds up what they used."""
        for child in psutil.Process().children():
            if child.pid in keep or child.status() != psutil.STATUS_ZOMBIE:
                continue
            _, _, usage = os.wait4(child.pid, 0)
            self.orphans += usage.ru_utime + usage.ru_stime

    def kill_left(self) -> None:
        """End what is still there: daemon, jobs, server, if something went wrong."""
        left = psutil.Process().children(recursive=True)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


def tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def used(pid: int) -> float:
    """Processor seconds of a process, its descendants, and those of them that ended and were waited for."""
    total = 0.0
    for process in tree(pid):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue  # its parent's children_user and children_system have it by now
    return total


# -- storage -----------------------------------------------------------------------------------------------


@contextmanager
def postgres(processes: Processes) -> Iterator[dict[str, Any]]:
    """A PostgreSQL cluster of its own, Debian's defaults; configuration of the storage, and the server's pid."""
    import psycopg

    programs = postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="dmi-scale-postgres-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        # The server refuses to run as root.
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres", "postgres")
    password, data, port = secrets.token_hex(16), folder / "data", free_port()
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if as_user:
        shutil.chown(secret, "postgres", "postgres")
    server = [*as_user, programs["pg_ctl"], "-D", data, "-w"]
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    try:
        processes.run(
            *as_user, programs["initdb"], "-D", data, "-U", "aiida", "-E", "UTF8", "--locale=C.UTF-8",
            "-A", "scram-sha-256", f"--pwfile={secret}",
        )  # fmt: skip
        processes.run(*server, "-l", folder / "server.log", "-o", settings, "start")
        address = {"host": "127.0.0.1", "port": port, "user": "aiida", "password": password}
        with psycopg.connect(dbname="postgres", autocommit=True, **address) as connection:
            connection.execute("CREATE DATABASE aiida")
            (version,) = connection.execute("SHOW server_version").fetchone()
        yield {
            "backend": "core.psql_dos",
            "config": {
                "database_engine": "postgresql_psycopg",
                "database_hostname": "127.0.0.1",
                "database_port": port,
                "database_username": "aiida",
                "database_password": password,
                "database_name": "aiida",
                "repository_uri": f"file://{processes.folder / 'repository'}",
            },
            "server": int((data / "postmaster.pid").read_text().split()[0]),
            "version": f"PostgreSQL {version}",
        }
    finally:
        if (data / "postmaster.pid").exists():
            processes.run(*server, "-m", "fast", "stop")
        shutil.rmtree(folder)


def postgres_programs() -> dict[str, str]:
    """Full paths; Debian keeps them beside PATH, in a folder for each version."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    search = os.pathsep.join([*map(str, reversed(versions)), os.environ["PATH"]])
    found = {name: shutil.which(name, path=search) for name in POSTGRES}
    if missing := [name for name, path in found.items() if path is None]:
        raise ScaleError(f"{', '.join(missing)} not found; install PostgreSQL (Debian: apt-get install postgresql)")
    return {name: str(path) for name, path in found.items()}


@contextmanager
def sqlite(processes: Processes) -> Iterator[dict[str, Any]]:
    """SQLite, as `aiida-dmi setup` makes it."""
    import sqlite3

    config = {"filepath": str(processes.folder / "storage")}
    yield {
        "backend": "core.sqlite_dos", "config": config, "server": None, "version": f"SQLite {sqlite3.sqlite_version}"
    }  # fmt: skip


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def make_profile(processes: Processes, storage: dict[str, Any]) -> str:
    """Profile, computer, dmi-engine and model as `aiida-dmi setup` makes them, on this storage; the model's uuid."""
    from aiida import orm

    from aiida_dmi.cli.setup import ensure_computer, ensure_profile, find_executable
    from aiida_dmi.data.model import WannierModelData

    ensure_profile(PROFILE, storage["backend"], storage["config"])
    computer = ensure_computer(workdir=processes.folder / "scratch")
    # Every command on the computer starts a shell; what a login shell reads is this machine's and not to be measured.
    computer.configure(safe_interval=0, use_login_shell=False)
    # A look every second costs more than the job where jobs wait for a processor.
    computer.set_minimum_job_poll_interval(5)
    engine = find_executable("dmi-engine")
    if engine is None:
        raise ScaleError("dmi-engine is not installed beside this Python")
    orm.InstalledCode(
        label="engine", computer=computer, filepath_executable=engine, default_calc_job_plugin="dmi.model"
    ).store()
    model = WannierModelData(MODEL, label="Co/Pt(111) 1+1").store()
    return str(model.uuid)


def database_size(storage: dict[str, Any]) -> int:
    """Bytes of the database; of PostgreSQL with its indices, without its log (WAL)."""
    from aiida.manage import get_manager
    from sqlalchemy import text

    if storage["server"] is None:
        return sum(path.stat().st_size for path in Path(storage["config"]["filepath"]).glob("database.sqlite*"))
    session = get_manager().get_profile_storage().get_session()
    return int(session.execute(text("SELECT pg_database_size(current_database())")).scalar())


def folder_size(folder: Path) -> int:
    """Bytes that a folder's files occupy on disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if not path.is_dir())


def sizes(processes: Processes, storage: dict[str, Any]) -> dict[str, int]:
    """Bytes of database, repository and scratch now."""
    uri = storage["config"].get("repository_uri", storage["config"].get("filepath", ""))
    return {
        "database": database_size(storage),
        "repository": folder_size(Path(uri.removeprefix("file://")) / "container"),
        "scratch": folder_size(processes.folder / "scratch"),
    }


@contextmanager
def profile() -> Iterator[None]:
    """The database open in this process, and closed again: SQLite's readers keep writers out."""
    from aiida import load_profile
    from aiida.manage import get_manager

    load_profile(PROFILE, allow_switch=True)
    try:
        yield
    finally:
        get_manager().unload_profile()

"""A user without a daemon whose engine waits where it is told to."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..workflows.conftest import processes, wait_until
from ..workflows.test_daemon import LONG, Session, own_processes, signal_all

GATED = """\
#!/bin/bash
# dmi-engine; with a mesh of 10 it waits at a gate.
if grep -q "mesh: 10" run.yaml; then
    while [ ! -e {gate} ]; do sleep 0.1; done
fi
exec {engine} "$@"
"""


class User(Session):
    """A user without a daemon, whose engine waits where it is told to."""

    def __init__(self, folder, model):
        super().__init__(folder)
        self.model, self.gate = model, folder / "gate"
        # Beside the folder: that may be a disk to fill.
        self.output = folder.with_name(f"{folder.name}-said")

    def command(self, *changes, mesh=10):
        """A response of a finished model."""
        settings = {"force": "true", "response.mesh": mesh, "response.soi_scales": "[1.0]"}
        settings["response.temperatures"] = "[1500.0]"
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return ["aiida-dmi", "launch", "response", str(self.model), *words, *changes]

    def start(self, *changes, mesh=10, **options):
        """In the background, until its engine waits at the gate."""
        before = set(self.engines())
        output = self.output.open("w")
        process = subprocess.Popen(
            self.command(*changes, mesh=mesh),
            cwd=self.folder, env=self.environment, stdout=output, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip
        output.close()
        if mesh == 10:
            wait_until(lambda: set(self.engines()) - before, LONG, "the engine waits")
            # ... and AiiDA knows its number.
            wait_until(lambda: "started" in self.said(), LONG, "the job is known")
        return process

    def said(self):
        """By the last command that was started."""
        return self.output.read_text()

    def engines(self):
        """Running engines: pid to folder."""
        return processes("dmi-engine", self.scratch)

    def status(self, *words):
        return self.run("aiida-dmi", "status", *words)

    def newest(self, state):
        """The pk of the newest run in a state."""
        return re.search(rf"^ *(\d+) .* {state}", self.status(), re.MULTILINE)[1]


def set_up(folder, upf_folder, model_file):
    """Such a user, by `aiida-dmi setup`."""
    (folder / "pseudos").mkdir()
    (folder / "pseudos" / "Co.UPF").symlink_to(upf_folder / "Co.UPF")
    user = User(folder, model_file.absolute())
    (folder / "bin").mkdir()
    engine = folder / "bin" / "dmi-engine"
    engine.write_text(GATED.format(gate=user.gate, engine=Path(sys.executable).with_name("dmi-engine")))
    engine.chmod(0o755)
    user.run("aiida-dmi", "setup", "-n", "--pseudos", folder / "pseudos", "--executable", f"engine={engine}")
    return user


@pytest.fixture(scope="module")
def user(tmp_path_factory, upf_folder, model_file):
    user = set_up(tmp_path_factory.mktemp("user"), upf_folder, model_file)
    yield user
    signal_all(own_processes(user), signal.SIGKILL)

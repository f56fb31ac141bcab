"""Codes for containers, through a program that stands in for the engine: it starts this machine's own programs.

What a real engine does with the same command lines is `test_run.py`'s.
"""

import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path

import pytest
from aiida import engine as aiida_engine
from aiida import orm
from aiida.engine.processes.calcjobs.tasks import PreSubmitException
from aiida.plugins import CalculationFactory
from click.testing import CliRunner

from aiida_dmi.cli import cli
from aiida_dmi.containers import codes as container_codes
from aiida_dmi.containers.codes import (
    EXTRA,
    calculations_of_image,
    codes_of,
    digest_of,
    job_options,
    ranks_inside,
    setup_codes,
)
from aiida_dmi.containers.configuration import ContainerError
from aiida_dmi.containers.probe import mpi_ranks
from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.workflows.dmi import DmiWorkChain

FIRST, SECOND = ("sha256:" + digit * 64 for digit in "ab")

STAND_IN = """#!/bin/bash
if [ "$1 $2" = "image inspect" ]; then
    [ -e "{folder}/description" ] || {{ echo "no such image" >&2; exit 125; }}
    exec cat "{folder}/description"
fi
echo "$*" >> "{folder}/calls"
for argument; do
    case "$argument" in
        sha256:*|*@sha256:*) shift; break ;;
        --workdir=*) cd "${{argument#--workdir=}}" || exit 1; shift ;;
        *) shift ;;
    esac
done
[ ! -e "{folder}/broken" ] || exit 1
exec "$@"
"""

ALONE = """#!/bin/bash
[ "$1 $2" = "-np 2" ] || exit 1
shift 2
exec env PMIX_RANK= "{mpirun}" -np 1 "$@"
"""


class StandIn:
    def __init__(self, folder):
        self.folder = folder
        program = folder / "podman"
        program.write_text(STAND_IN.format(folder=folder))
        program.chmod(program.stat().st_mode | stat.S_IEXEC)

    def holds(self, identifier, digests=()):
        description = [{"Id": identifier.removeprefix("sha256:"), "RepoDigests": list(digests)}]
        (self.folder / "description").write_text(json.dumps(description))


@pytest.fixture
def podman(tmp_path, monkeypatch):
    """`podman` on PATH, with one image."""
    stand_in = StandIn(tmp_path)
    stand_in.holds(FIRST)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    # mpirun behind the stand-in is this machine's, which may refuse root and more ranks than cores.
    for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"):
        monkeypatch.setenv(name, "1")
    return stand_in


@pytest.fixture
def machine(aiida_profile, tmp_path):
    """A local computer without a login shell, which would take the stand-in off PATH."""
    computer = orm.Computer(
        label=f"machine-{tmp_path.name}",
        hostname="localhost",
        transport_type="core.local",
        scheduler_type="core.direct",
        workdir=str(tmp_path / "scratch"),
    ).store()
    computer.set_minimum_job_poll_interval(0)
    return computer.configure(safe_interval=0, use_login_shell=False) and computer


def test_setup_verifies_and_names_the_digest(podman, machine):
    codes = setup_codes("podman", "aiida-dmi", machine, 2)
    assert set(codes) == {"pw", "pw2wannier90", "pp", "wannier90", "engine"}
    assert codes["pw"].full_label == f"pw@{machine.label}"
    assert codes["pw"].image_name == digest_of(codes["pw"]) == FIRST
    about = codes["pw"].base.extras.get(EXTRA)
    assert (about["engine"], about["image"], about["ranks"]) == ("podman", "localhost/aiida-dmi:latest", 2)
    assert about["version"][0].isdigit()
    assert machine.get_use_double_quotes()
    assert ranks_inside(codes["pw"]) == 2
    assert ranks_inside(codes["engine"]) is None
    assert job_options(codes)["resources"]["num_mpiprocs_per_machine"] == 2
    assert setup_codes("podman", "aiida-dmi", machine, 2)["pw"].uuid == codes["pw"].uuid


def test_command_line(podman, machine, aiida_profile):
    def call(*arguments):
        return CliRunner().invoke(cli, ["-p", aiida_profile.name, "containers", *arguments])

    made = call("setup", "--engine", "podman", "--computer", machine.label, "--np", "2")
    assert made.exit_code == 0, made.output
    assert re.search(rf"code pw@{machine.label}: \S+, 2 ranks, {FIRST}", made.output)
    setup_codes("podman", "aiida-dmi", machine, 1)
    rows = [line for line in call("list").output.splitlines() if f"pw@{machine.label}" in line]
    assert len(rows) == 1
    assert FIRST[:19] in rows[0]
    hidden = [line for line in call("list", "--all").output.splitlines() if machine.label in line]
    assert len(hidden) == 7
    refused = call("setup", "--engine", "podman", "--computer", "nowhere")
    assert "computer: there is no nowhere" in str(refused.exception)


def test_another_image_hides_its_predecessor(podman, machine):
    old = setup_codes("podman", "aiida-dmi", machine, 2)["engine"]
    podman.holds(SECOND)
    new = setup_codes("podman", "aiida-dmi", machine, 2)["engine"]
    assert (new.image_name, new.is_hidden) == (SECOND, False)
    assert orm.load_code(old.pk).is_hidden
    assert orm.load_code(f"engine@{machine.label}").uuid == new.uuid
    # Back to the first image: its code comes back, and its runs with it.
    podman.holds(FIRST)
    assert setup_codes("podman", "aiida-dmi", machine, 2)["engine"].uuid == old.uuid
    assert [code.uuid for code in codes_of(machine, "engine")] == [old.uuid]


def test_codes_outside_containers_are_left_alone(podman, machine):
    native = orm.InstalledCode(label="pw", computer=machine, filepath_executable="/bin/true").store()
    with pytest.raises(ContainerError, match=r"has codes pw that run outside containers; .*verdi computer duplicate"):
        setup_codes("podman", "aiida-dmi", machine)
    assert orm.load_code(f"pw@{machine.label}").uuid == native.uuid


def test_registry_images_go_by_the_registry_s_digest(podman, machine):
    name = f"registry.example/group/aiida-dmi@{SECOND}"
    podman.holds(FIRST, digests=[name])
    assert setup_codes("podman", "registry.example/group/aiida-dmi:1", machine)["engine"].image_name == name
    podman.holds(FIRST, digests=[f"localhost/aiida-dmi@{SECOND}"])
    assert setup_codes("podman", "aiida-dmi", machine)["engine"].image_name == FIRST


def test_what_does_not_work_is_not_stored(podman, machine):
    before = orm.QueryBuilder().append(orm.ContainerizedCode).count()
    podman.holds("sha256:" + "c" * 64)
    (podman.folder / "broken").touch()
    with pytest.raises(ContainerError, match="cannot read and write below"):
        setup_codes("podman", "aiida-dmi", machine, 2)
    (podman.folder / "description").unlink()
    with pytest.raises(ContainerError, match=r"image: podman cannot show .*no such image.*pull"):
        setup_codes("podman", "aiida-dmi", machine, 2)
    assert orm.QueryBuilder().append(orm.ContainerizedCode).count() == before


def test_ranks_that_do_not_find_each_other_are_refused(podman, machine):
    """As with a host mpirun in front of the engine: what should be one of two ranks is alone."""
    alone = podman.folder / "mpirun"
    alone.write_text(ALONE.format(mpirun=shutil.which("mpirun")))
    alone.chmod(0o755)
    with pytest.raises(ContainerError, match="2 MPI ranks were asked for, 1 runs of 1 ranks came"):
        setup_codes("podman", "aiida-dmi", machine, 2)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("     Parallel version (MPI), running on     2 processors\n", [2]),
        ("     Parallel version (MPI), running on     1 processors\n" * 2, [1, 1]),
        (
            "     Parallel version (MPI & OpenMP), running on       8 processor cores\n"
            "     Number of MPI processes:                 4\n"
            "     Threads/MPI process:                     2\n",
            [4],
        ),
        ("     Serial version\n", [1]),
        ("dmi-engine 0.1.0\n", [1]),
    ],
)
def test_ranks_in_the_words_of_the_program(said, expected):
    assert mpi_ranks(said) == expected


def test_sif_file_is_held_to_its_digest(machine, tmp_path):
    """Apptainer itself is not needed to find the digest; the job script checks it."""
    sif = tmp_path / "dmi.sif"
    sif.write_bytes(b"image")
    with machine.get_transport() as transport:
        name, lines = container_codes.resolve_image(container_codes.engine("apptainer"), str(sif), transport)
        check = transport.exec_command_wait(lines)
        sif.write_bytes(b"changed")
        changed = transport.exec_command_wait(lines)
    digest = "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"
    assert (name, f"sha256:{digest}" in lines) == (str(sif), True)
    assert (check[0], changed[0]) == (0, 1)


@pytest.mark.parametrize(("image", "words"), [("dmi.sif", "absolute path"), ("docker://x:latest", "can change")])
def test_apptainer_images_that_are_refused(machine, image, words):
    with machine.get_transport() as transport, pytest.raises(ContainerError, match=words):
        container_codes.resolve_image(container_codes.engine("apptainer"), image, transport)


@pytest.fixture
def response(podman, machine, model_node):
    """One job of dmi-engine with a container's code."""
    builder = CalculationFactory("dmi.response").get_builder()
    builder.code = setup_codes("podman", "aiida-dmi", machine, 2)["engine"]
    builder.model = model_node
    builder.parameters = orm.Dict({"mesh": 2, "temperatures": [1500.0]})
    return builder


def test_job_runs_through_the_engine_and_is_found_by_digest(podman, response):
    results, node = aiida_engine.run_get_node(response)
    assert node.is_finished_ok, node.exit_message
    assert "response" in results
    call = (podman.folder / "calls").read_text().splitlines()[-1]
    assert f"--workdir={node.get_remote_workdir()} {FIRST} dmi-engine run" in call
    assert node.uuid in {job.uuid for job in calculations_of_image(FIRST)}
    assert node.uuid in {job.uuid for job in calculations_of_image("a" * 12)}
    assert calculations_of_image(SECOND) == []
    with pytest.raises(ContainerError, match="digest: 'latest' was given"):
        calculations_of_image("latest")


def test_builder_leaves_the_ranks_to_the_container(podman, machine, pseudo_family):
    """Ranks, pools and withmpi follow from the code; a host mpirun in front is refused before anything runs."""
    codes = setup_codes("podman", "aiida-dmi", machine, 2)
    machine.set_default_mpiprocs_per_machine(3)
    overrides = {"pseudo_family": pseudo_family.label}
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides)
    options = builder.wannier_model.scf.pw.metadata.options
    assert options["withmpi"] is False
    assert options["resources"]["num_mpiprocs_per_machine"] == 2
    assert builder.wannier_model.scf.pw.parallelization["npool"] == 2
    with pytest.raises(ValueError, match=r"withmpi True was given, but pw@.* starts its 2 ranks in its container"):
        DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides, options={"withmpi": True})


def test_aiida_refuses_a_host_mpirun_in_front(response):
    response.metadata.options.withmpi = True
    with pytest.raises(PreSubmitException) as caught:
        aiida_engine.run(response)
    assert "Inconsistent requirements" in str(caught.value.__cause__)

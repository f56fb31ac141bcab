"""The whole chain from a real image, held against the same chain with this machine's programs: `make test-containers`.

It needs a container engine and the image, so it runs where AIIDA_DMI_TEST_ENGINE names the engine.
"""

import os
import re
import subprocess

import numpy as np
import pytest
from aiida import engine, orm
from aiida.plugins import WorkflowFactory

from aiida_dmi.cli.setup import ensure_computer
from aiida_dmi.containers.codes import EXTRA, calculations_of_image, digest_of, job_options, setup_codes
from aiida_dmi.containers.probe import command_line
from aiida_dmi.structures.bilayer import co_pt111

ENGINE = os.environ.get("AIIDA_DMI_TEST_ENGINE", "")
IMAGE = os.environ.get("AIIDA_DMI_TEST_IMAGE", "localhost/aiida-dmi:latest")
RANKS = 2
OPTIONS = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": RANKS}}
TINY = {
    "scf": {
        "parameters": {"SYSTEM": {"ecutwfc": 25.0, "ecutrho": 100.0}, "ELECTRONS": {"conv_thr": 1.0e-10}},
        "kpoints_mesh": [3, 3],
    },
    "bands": {"random_points": 2},
    "wannierisation": {"kpoints_mesh": [3, 3]},
    "response": {"mesh": 12, "soi_scales": [0.5, 1.0], "fermi_shifts": [-0.5, 0.0], "temperatures": [1500.0]},
    # The settings are too coarse for the gate; here two runs of them are compared.
    "force": True,
}
DmiWorkChain = WorkflowFactory("dmi.dmi")

pytestmark = pytest.mark.skipif(not ENGINE, reason="needs a container engine and the image: make test-containers")


def run(codes, family, options):
    builder = DmiWorkChain.get_builder_from_protocol(
        codes, co_pt111(1, 1), overrides={"pseudo_family": family.label, **TINY}, options=options
    )
    _, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    return node


def difference(first, second, name):
    """Largest difference of a quantity, against its largest value."""
    a, b = first[name].values, second[name].values
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.fixture(scope="module")
def machine(aiida_profile, tmp_path_factory):
    """This machine, for containers."""
    return ensure_computer(f"dmi-{ENGINE}", tmp_path_factory.mktemp("containers"))


@pytest.fixture(scope="module")
def container_codes(machine):
    return setup_codes(ENGINE, IMAGE, machine, RANKS)


@pytest.fixture(scope="module")
def native(codes, pseudo_family):
    return run(codes, pseudo_family, OPTIONS)


@pytest.fixture(scope="module")
def contained(container_codes, pseudo_family):
    return run(container_codes, pseudo_family, job_options(container_codes))


def test_image_tells_its_versions(say):
    done = subprocess.run([ENGINE, "run", "--rm", "--network=none", IMAGE], capture_output=True, text=True, check=True)
    assert "quantum-espresso 6.7" in done.stdout
    assert "dmi-engine" in done.stdout
    say("  ".join(done.stdout.splitlines()))


def test_codes_were_verified_and_hold_the_digest(container_codes, machine, say):
    for name, ranks in {"pw": RANKS, "pw2wannier90": RANKS, "pp": 1, "wannier90": 1, "engine": 1}.items():
        code = container_codes[name]
        about = code.base.extras.get(EXTRA)
        assert about["ranks"] == ranks
        assert len(digest_of(code)) == 71
        say(f"{code.full_label}: {about['version']}, {ranks} rank(s), {digest_of(code)[:19]}")
    say(container_codes["pw"].engine_command.replace(machine.get_workdir(), "WORKDIR"))


def test_setup_again_changes_nothing(container_codes, machine):
    again = setup_codes(ENGINE, IMAGE, machine, RANKS)
    assert {name: code.uuid for name, code in again.items()} == {n: c.uuid for n, c in container_codes.items()}


def test_every_job_ran_in_the_container_with_two_ranks(contained, container_codes, say):
    uuids = {code.uuid for code in container_codes.values()}
    jobs = [node for node in contained.called_descendants if isinstance(node, orm.CalcJobNode)]
    assert {job.inputs.code.uuid for job in jobs} <= uuids
    for job in jobs:
        if job.process_label == "PwCalculation":
            output = job.outputs.retrieved.base.repository.get_object_content("aiida.out")
            assert re.findall(r"running on\s+(\d+) processors", output) == [str(RANKS)]
    say(f"{len(jobs)} jobs in the container: {', '.join(sorted({job.process_label for job in jobs}))}")


def test_same_numbers_as_the_native_run(contained, native, say):
    """Same build and ranks: to the scf's convergence."""
    energies = [node.outputs.scf_parameters["energy"] for node in (contained, native)]
    say(f"total energy, container - native: {energies[0] - energies[1]:.1e} eV")
    assert energies[0] == pytest.approx(energies[1], abs=1e-7)
    first, second = contained.outputs.response.dataset, native.outputs.response.dataset
    for name in ("D", "Q", "D_1", "a_I", "a_II"):
        found = difference(first, second, name)
        say(f"{name}: relative difference {found:.1e}")
        assert found < 1e-5
    point = {"soi_scale": 1.0, "fermi_shift": 0.0, "i": "y", "j": "x"}
    values = [data.D.sel(point).item() for data in (first, second)]
    say(f"D_yx(xi = 1): {values[0]:.10f} container, {values[1]:.10f} native, meV*Angstrom per cell")
    assert abs(values[1]) > 1


def test_response_of_one_model(contained, native, container_codes, say):
    """The native run's model through the container's dmi-engine."""
    builder = DmiWorkChain.get_builder()
    builder.model = native.outputs.model
    builder.response.dmi.code = container_codes["engine"]
    builder.response.dmi.parameters = orm.Dict(TINY["response"])
    builder.force = orm.Bool(True)
    results, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    for name in ("D", "Q", "D_1", "Q_1", "a_I", "a_II"):
        found = difference(results["response"].dataset, native.outputs.response.dataset, name)
        say(f"one model, {name}: relative difference {found:.1e}")
        assert found < 1e-10


def test_provenance_by_digest(contained, native, container_codes, say):
    digest = digest_of(container_codes["pw"])
    found = {job.uuid for job in calculations_of_image(digest)}

    def jobs(workchain):
        return {node.uuid for node in workchain.called_descendants if isinstance(node, orm.CalcJobNode)}

    assert jobs(contained) <= found
    assert not jobs(native) & found
    assert calculations_of_image(digest[:19]) == calculations_of_image(digest)
    say(f"{len(found)} calculations of {digest[:19]} found")


def test_ended_job_leaves_no_container(container_codes, machine):
    """SIGTERM to the engine, as a scheduler sends it, reaches the program, which ignores nothing."""
    code = container_codes["engine"]
    line = command_line(code, ["python3", "-c", "import time; time.sleep(300)"], 1)
    workdir = machine.get_workdir()
    job = subprocess.Popen(["bash", "-c", f"cd {workdir}; exec {line}"], stdin=subprocess.DEVNULL)

    def running():
        ancestor = f"ancestor={code.image_name}"
        command = [ENGINE, "ps", "--quiet", "--filter", ancestor]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    for _ in range(100):
        if running():
            break
        subprocess.run(["sleep", "0.2"], check=True)
    assert running()
    job.terminate()
    job.wait(timeout=30)
    assert not running()

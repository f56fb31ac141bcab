"""Programs that are killed: what goes on from a checkpoint, what is run again, what ends with the step's name."""

import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import engine, orm
from aiida.common.links import LinkType
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching
from aiida.plugins import WorkflowFactory
from plumpy.persistence import Bundle, LoadSaveContext

from aiida_dmi.calculations.response import DmiCalculation

from .conftest import Killer, jobs_of, said

DmiBaseWorkChain = WorkflowFactory("dmi.response_base")

PARAMETERS = {"mesh": 48, "soi_scales": [0.5, 1.0], "fermi_shifts": [-0.5, 0.0, 0.5], "temperatures": [1500.0]}
LAST_WORDS = "did not reach its end"

EAGER = """\
#!{python}
# dmi-engine, but with a checkpoint after every batch of k points instead of every 20 s.
import functools, sys
from importlib import import_module
from aiida_dmi.engine.run.cli import main

driver = import_module("aiida_dmi.engine.run.compute")
driver.Checkpoint = functools.partial(driver.Checkpoint, interval=0.0)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def eager(computer, tmp_path_factory):
    """The code: as dmi-engine, with a checkpoint at once."""
    script = tmp_path_factory.mktemp("bin") / "eager-engine"
    script.write_text(EAGER.format(python=sys.executable))
    script.chmod(0o755)
    return orm.InstalledCode(
        label="eager", computer=computer, filepath_executable=str(script), default_calc_job_plugin="dmi.response"
    ).store()


@pytest.fixture
def builder(eager, model_node):
    builder = DmiBaseWorkChain.get_builder()
    builder.dmi.code = eager
    builder.dmi.model = model_node
    builder.dmi.parameters = orm.Dict(PARAMETERS)
    return builder


@pytest.fixture(scope="module")
def undisturbed(eager, model_file):
    """D of a run that nobody disturbs."""
    from aiida_dmi.data.model import WannierModelData

    builder = DmiBaseWorkChain.get_builder()
    builder.dmi.code = eager
    builder.dmi.model = WannierModelData(model_file.absolute())
    builder.dmi.parameters = orm.Dict(PARAMETERS)
    results, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert len(jobs_of(node)) == 1
    return results["response"].dataset


def test_worker_dies_after_the_outputs_are_stored(builder):
    """The process goes on from a checkpoint without outputs, the node has them: it ends well all the same."""
    builder.dmi.parameters = orm.Dict({**PARAMETERS, "mesh": 4})
    _, node = engine.run_get_node(builder)
    runner = get_manager().get_runner()
    process = instantiate_process(runner, builder)
    process.ctx.children, process.ctx.iteration = jobs_of(node), 1
    checkpoint = Bundle(process)
    process.results()
    process.update_outputs()
    stored = process.node.base.links.get_outgoing(link_type=LinkType.RETURN).all_link_labels()
    assert "response" in stored
    process = checkpoint.unbundle(LoadSaveContext(loop=runner.loop, runner=runner))
    assert process.spec().outputs.validate(process.outputs) is not None
    process.results()
    process.update_outputs()
    assert process.spec().outputs.validate(process.outputs) is None
    assert process.node.base.links.get_outgoing(link_type=LinkType.RETURN).all_link_labels() == stored
    process.kill()


def has_checkpoint(folder):
    return (folder / "result.nc.checkpoint").exists()


def kills(computer, times):
    """kill -9 of a job as soon as it has a checkpoint."""
    return Killer("eager-engine", computer.get_workdir(), has_checkpoint, times)


@pytest.mark.parametrize("processes", [1, 2])
def test_goes_on_from_the_checkpoint_bit_for_bit(builder, computer, undisturbed, processes):
    builder.dmi.metadata.options.processes = processes
    with kills(computer, 1) as killer:
        results, node = engine.run_get_node(builder)
    assert len(killer.killed) == 1
    assert node.is_finished_ok, node.exit_message
    first, second = jobs_of(node)
    assert first.exit_status == 312
    assert LAST_WORDS in first.exit_message
    assert f"DmiCalculation<{first.pk}>: dmi-engine run {LAST_WORDS}" in said(node)
    assert "; goes on from its checkpoint" in said(node)
    assert second.inputs.parent_folder.uuid == first.outputs.remote_folder.uuid
    # Its progress starts where the first one stood, not at nought.
    progress = second.outputs.retrieved.base.repository.get_object_content("dmi-engine.err")
    assert "D, Q, a" in progress
    assert "band energies" not in progress
    # The checkpoint has served and is gone.
    assert not has_checkpoint(Path(second.get_remote_workdir()))
    assert results["response"].dataset.identical(undisturbed)


def test_so_often_and_no_more(builder, computer):
    """Every job is killed: max_iterations of them, and the third from the second's checkpoint."""
    builder.max_iterations = orm.Int(3)
    with kills(computer, 99) as killer:
        _, node = engine.run_get_node(builder)
    assert len(killer.killed) == 3
    assert node.exit_status == DmiBaseWorkChain.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED.status
    jobs = jobs_of(node)
    assert [job.exit_status for job in jobs] == [312, 312, 312]
    done = [int(np.load(Path(j.get_remote_workdir()) / "result.nc.checkpoint")["done"]) for j in jobs]
    assert done == sorted(done)
    assert "response" not in node.outputs


def test_refusal_is_not_tried_again(builder):
    """Also as the last job that is allowed, it ends with the engine's own line."""
    # Known with the model alone, which has no moments.
    builder.dmi.parameters = orm.Dict({**PARAMETERS, "symmetry": True})
    builder.max_iterations = orm.Int(1)
    _, node = engine.run_get_node(builder)
    assert node.exit_status == 410
    assert "moments" in node.exit_message


def test_damaged_checkpoint_is_not_taken_for_sums(builder, tmp_path, computer):
    (tmp_path / "result.nc.checkpoint").write_bytes(b"damaged")
    job = DmiCalculation.get_builder()
    job.code, job.model, job.parameters = builder.dmi.code, builder.dmi.model, builder.dmi.parameters
    job.parent_folder = orm.RemoteData(computer=computer, remote_path=str(tmp_path))
    _, node = engine.run_get_node(job)
    assert node.exit_status == 320
    assert "remove it to start anew" in node.exit_message


def test_engine_that_gets_nowhere_is_tried_twice(builder, computer, tmp_path):
    builder.dmi.code = orm.InstalledCode(
        label="missing", computer=computer, filepath_executable=str(tmp_path / "no-engine")
    ).store()
    _, node = engine.run_get_node(builder)
    assert [job.exit_status for job in jobs_of(node)] == [312, 312]
    assert node.exit_status == 410
    assert "it said last: " in node.exit_message
    assert "no-engine: No such file or directory" in node.exit_message
    assert "it has no checkpoint yet: once more from the start" in said(node)


def test_folders_are_removed_after_success_only(builder, computer, undisturbed):
    assert "mesh" in undisturbed.attrs
    builder.dmi.parameters = orm.Dict({**PARAMETERS, "mesh": 4})
    builder.clean_workdir = orm.Bool(True)
    _, node = engine.run_get_node(builder)
    assert node.is_finished_ok
    assert not Path(jobs_of(node)[0].get_remote_workdir()).exists()
    builder.max_iterations = orm.Int(1)
    builder.dmi.parameters = orm.Dict(PARAMETERS)
    with kills(computer, 1):
        _, node = engine.run_get_node(builder)
    assert node.is_failed
    assert has_checkpoint(Path(jobs_of(node)[0].get_remote_workdir()))


def test_killed_scf_is_never_taken_for_finished(quick_builder, computer):
    """pw.x goes in mid-scf, mpirun makes noise on stderr, the scheduler says nothing."""
    # So dense a mesh that it is still running when its second iteration is seen.
    dense = {"parameters": {"SYSTEM": {"ecutwfc": 30.0, "ecutrho": 120.0}}, "kpoints_mesh": [8, 8]}

    def in_the_middle(folder):
        output = folder / "aiida.out"
        return output.exists() and "iteration #  2" in output.read_text(errors="replace")

    with Killer("pw.x", computer.get_workdir(), in_the_middle) as killer:
        _, node = engine.run_get_node(quick_builder({"scf": dense}))
    assert len(killer.killed) == 1
    (scf,) = jobs_of(node)
    assert scf.is_failed
    assert not scf.base.caching.is_valid_cache
    noise = scf.outputs.retrieved.base.repository.get_object_content("_scheduler-stderr.txt")
    assert noise.strip()
    assert node.exit_status == 401
    assert "step scf: pw.x failed" in node.exit_message
    assert scf.exit_message in node.exit_message


KILLED_ONCE = """\
#!/bin/bash
# wannier90.x; the first run that has overlaps to work on is killed as soon as it has begun.
if [ -e aiida.amn ] && mkdir "{lock}" 2> /dev/null; then
    "{program}" "$@" &
    until [ -e aiida.wout ]; do :; done
    kill -9 $!
    wait $!
    echo "noise" >&2
else
    exec "{program}" "$@"
fi
"""


def test_killed_wannier90_is_run_again_with_the_same_choice(quick_builder, quick_finished, codes, computer, tmp_path):
    """Other Wannier functions would be another result: they are not what mends a kill."""
    script = tmp_path / "wannier90-killed-once"
    script.write_text(KILLED_ONCE.format(lock=tmp_path / "killed", program=codes["wannier90"].filepath_executable))
    script.chmod(0o755)
    code = orm.InstalledCode(
        label="killed-once",
        computer=computer,
        filepath_executable=str(script),
        default_calc_job_plugin=codes["wannier90"].default_calc_job_plugin,
    )
    choices = {"wannierisation": {"kpoints_mesh": [2, 2], "retries": 1}}
    with enable_caching():
        _, node = engine.run_get_node(quick_builder(choices, {"wannier90": code.store()}))
    assert node.is_finished_ok, node.exit_message
    killed = [job for job in jobs_of(node, "Wannier90Calculation") if job.is_failed]
    assert len(killed) == 1
    assert killed[0].process_class.exit_codes.ERROR_OUTPUT_STDOUT_INCOMPLETE.status == killed[0].exit_status
    assert not killed[0].base.caching.is_valid_cache
    assert "the same choice once more" in said(node)
    assert "next: " not in said(node)
    ours, theirs = (n.outputs.response.dataset.D.values for n in (node, quick_finished))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max())

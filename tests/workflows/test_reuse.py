"""Which pw.x jobs are reused: with another layout, with another program, as the workchain above says."""

from pathlib import Path

import pytest
from aiida import engine, orm
from aiida.common.links import LinkType
from aiida.manage.caching import disable_caching, enable_caching, get_use_cache

from aiida_dmi.calculations.functions import scalar_relativistic_average
from aiida_dmi.workflows.pw_steps import PwBaseWorkChain
from aiida_dmi.workflows.reuse import caching_asked

from .conftest import jobs_of, said


def write_wrapper(path, program, comment):
    path.write_text(f'#!/bin/bash\n# {comment}\nexec {program} "$@"\n')
    path.chmod(0o755)


@pytest.fixture(scope="module")
def wrapper(codes, computer, tmp_path_factory):
    """A pw.x under a path of one's own: its path and its code."""
    path = tmp_path_factory.mktemp("bin") / "pw.x"
    write_wrapper(path, codes["pw"].filepath_executable, "one")
    code = orm.InstalledCode(
        label="own-pw", computer=computer, filepath_executable=str(path), default_calc_job_plugin="quantumespresso.pw"
    )
    return path, code.store()


@pytest.fixture(scope="module")
def scf(quick_builder, wrapper):
    """The scf of the quick film: its job, with changes of inputs and options."""
    whole = quick_builder().wannier_model
    averaged = {kind: scalar_relativistic_average(pseudo) for kind, pseudo in whole.pseudos.items()}
    structure = quick_builder().structure

    def run(caching=True, pools=1, ranks=1, parameters=None, **options):
        builder = PwBaseWorkChain.get_builder()
        builder.kpoints = whole.scf.kpoints
        builder.pw.code, builder.pw.structure, builder.pw.pseudos = wrapper[1], structure, averaged
        content = whole.scf.pw.parameters.get_dict()
        content["SYSTEM"] = {**content["SYSTEM"], **(parameters or {})}
        builder.pw.parameters = orm.Dict(content)
        builder.pw.parallelization = orm.Dict({"npool": pools})
        builder.pw.metadata.options = {
            **dict(whole.scf.pw.metadata.options),
            "resources": {"num_machines": 1, "num_mpiprocs_per_machine": ranks},
            **options,
        }
        if caching is not None:
            builder.caching = caching
        _, node = engine.run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        (job,) = jobs_of(node)
        return job

    return run


@pytest.fixture(scope="module")
def first(scf):
    """One rank, computed."""
    job = scf()
    assert not reused(job)
    return job


def reused(node):
    return node.base.caching.is_created_from_cache


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"ranks": 2},
        {"ranks": 2, "pools": 2},
        {"max_wallclock_seconds": 3600},
        {"ranks": 2, "pools": 2, "queue_name": "other", "custom_scheduler_commands": "#SBATCH -C fast"},
    ],
)
def test_the_layout_does_not_matter(scf, first, layout):
    job = scf(**layout)
    assert reused(job)
    # What stands on the job is how it was computed.
    assert job.get_option("resources") == first.get_option("resources")
    assert job.inputs.parallelization.get_dict() == {"npool": 1}
    assert job.outputs.output_parameters["energy"] == first.outputs.output_parameters["energy"]
    if "ranks" in layout:
        assert "is the same with another layout, and is taken" in said(job.caller)


def test_all_else_does(scf, first):
    other = scf(parameters={"degauss": 0.021}, ranks=2)
    assert not reused(other)
    assert other.get_option("resources")["num_mpiprocs_per_machine"] == 2
    assert first.outputs.output_parameters["energy"] != other.outputs.output_parameters["energy"]


def test_fresh_is_fresh_whatever_the_interpreter_says(scf, first):
    assert reused(scf())
    with enable_caching():
        job = scf(caching=False)
    assert not reused(job)
    assert job.base.extras.get("_aiida_hash") == first.base.extras.get("_aiida_hash")


def test_by_itself_it_does_as_aiida_is_configured(scf, first):
    assert not reused(scf(caching=None))
    with enable_caching():
        assert reused(scf(caching=None))
    with disable_caching():
        assert reused(scf(caching=True))
    assert not get_use_cache()
    assert reused(first) is False


def test_a_failed_or_forbidden_job_is_no_source(scf, first):
    found = orm.QueryBuilder().append(orm.CalcJobNode, filters={"process_type": first.process_type}).all(flat=True)
    jobs = [job for job in found if job.base.caching.is_valid_cache]
    for job in jobs:
        job.base.caching.is_valid_cache = False
    try:
        assert not reused(scf(ranks=2))
    finally:
        for job in jobs:
            job.base.caching.is_valid_cache = True


def test_a_program_replaced_under_its_path_is_another_one(scf, first, wrapper, codes):
    path, _ = wrapper
    program = codes["pw"].filepath_executable
    write_wrapper(path, program, "two")
    try:
        job = scf()
        assert not reused(job)
        script = job.base.repository.get_object_content("_aiidasubmit.sh")
        assert "# program sha256:" in script
        assert reused(scf())
    finally:
        write_wrapper(path, program, "one")
    assert reused(scf())
    assert reused(first) is False


def test_the_nearest_caller_decides():
    """As it is written on the nodes: what a worker of the daemon has to go by."""
    top = orm.WorkChainNode()
    top.set_metadata_inputs({"caching": True})
    middle = orm.WorkChainNode()
    below = orm.WorkChainNode()
    middle.base.links.add_incoming(top.store(), LinkType.CALL_WORK, "middle")
    below.base.links.add_incoming(middle.store(), LinkType.CALL_WORK, "below")
    assert caching_asked(below.store()) is True
    other = orm.WorkChainNode()
    other.set_metadata_inputs({"caching": False})
    other.base.links.add_incoming(middle, LinkType.CALL_WORK, "other")
    assert caching_asked(other.store()) is False
    assert caching_asked(orm.WorkChainNode().store()) is None


def test_the_whole_film_with_other_ranks(quick_builder, only_source):
    """Every job of the film is there already, whatever its layout."""
    builder = quick_builder(options={"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 2}})
    builder.caching = True
    _, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert all(reused(job) for job in jobs_of(node))
    assert len(jobs_of(node)) == len(jobs_of(only_source))
    assert Path(jobs_of(node)[0].outputs.remote_folder.get_remote_path()).is_dir()

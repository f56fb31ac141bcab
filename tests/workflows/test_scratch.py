"""Scratch that was emptied after a run: what the cache still serves, and what is computed again."""

import shutil

import pytest
from aiida import engine, orm
from aiida.common import LinkType
from aiida.manage.caching import enable_caching

from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.workflows import scratch
from aiida_dmi.workflows.wannier_model import WannierModelWorkChain

from .conftest import QUICK, jobs_of, said


def computed(node):
    """Jobs that ran, not those that the cache served: what each did."""
    jobs = [job for job in jobs_of(node) if not job.base.caching.is_created_from_cache]
    return [
        job.inputs.parameters["CONTROL"]["calculation"] if job.process_label == "PwCalculation" else job.process_label
        for job in jobs
        if job.is_finished_ok
    ]


def empty(*jobs):
    for job in jobs:
        shutil.rmtree(job.get_remote_workdir(), ignore_errors=True)


def pw(node, calculation):
    return [
        job for job in jobs_of(node, "PwCalculation") if job.inputs.parameters["CONTROL"]["calculation"] == calculation
    ]


# A density of its own: the folders of other tests' runs stay.
SCF = {**QUICK["scf"], "parameters": {"SYSTEM": {"ecutwfc": 16.0}, "ELECTRONS": {"conv_thr": 2e-6}}}


@pytest.fixture
def model(codes, pseudo_family):
    """Runs the quick film to its model, with the cache; `changes` are of the Wannier functions."""

    def run(mesh, **changes):
        wannierisation = {**QUICK["wannierisation"], "kpoints_mesh": mesh, **changes}
        overrides = {"pseudo_family": pseudo_family.label, "scf": SCF, "wannierisation": wannierisation}
        overrides |= {"bands": QUICK["bands"], "force": True}
        builder = WannierModelWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides)
        with enable_caching():
            node = engine.run_get_node(builder)[1]
        assert node.is_finished_ok, node.exit_message
        return node

    return run


def test_emptied_scratch(model):
    """The nscf's folder gone, then all: what is needed of it is computed again, and no more."""
    first = model([1, 2])

    # The model's job misses the nscf: that is done again with the same choice, the scf is not.
    empty(*pw(first, "nscf"))
    second = model([1, 2], frozen_window=3.0)
    assert [step for step in computed(second) if step in ("scf", "bands", "nscf")] == ["nscf"]
    assert "is not on the computer any more" in said(second)

    # The same film as before costs nothing, whatever is gone.
    empty(*jobs_of(first), *jobs_of(second))
    same = model([1, 2], frozen_window=3.0)
    assert computed(same) == []

    # Another mesh misses the scf: that is done again, and is what the results stand on. The gate takes its bands
    # from the cache: they are at the same points for every mesh.
    other = model([2, 1])
    assert [step for step in computed(other) if step in ("scf", "bands", "nscf")] == ["scf", "nscf"]
    assert "is not on the computer any more" in said(other)
    old, new = pw(other, "scf")
    assert (old.base.caching.is_valid_cache, new.base.caching.is_valid_cache) == (False, True)
    assert other.outputs.scf_folder.uuid == new.outputs.remote_folder.uuid


def remote(computer, path, process_type=None):
    """The folder of a job."""
    job = orm.CalcJobNode(computer=computer, process_type=process_type)
    job.set_option("resources", {"num_machines": 1})
    job.set_process_state("finished")
    job.store()
    folder = orm.RemoteData(remote_path=str(path), computer=computer)
    folder.base.links.add_incoming(job, LinkType.CREATE, "remote_folder")
    return folder.store()


def test_folders_that_are_gone(computer, tmp_path):
    """Missing, empty, or of pw.x without the density: gone; on a computer that cannot be reached: not known."""
    whole, bare, missing = tmp_path / "whole", tmp_path / "bare", tmp_path / "missing"
    (whole / "out" / "aiida.save").mkdir(parents=True)
    (whole / "out" / "aiida.save" / "charge-density.dat").touch()
    (bare / "out" / "aiida.save").mkdir(parents=True)
    of_pw = scratch.PwCalculation.build_process_type()
    assert not scratch.is_gone(remote(computer, whole, of_pw))
    assert scratch.is_gone(remote(computer, bare, of_pw))
    assert not scratch.is_gone(remote(computer, bare))
    assert scratch.is_gone(remote(computer, missing))
    (tmp_path / "empty").mkdir()
    assert scratch.is_gone(remote(computer, tmp_path / "empty"))
    away = orm.Computer("away", "away.invalid", transport_type="core.ssh", scheduler_type="core.direct").store()
    assert not scratch.is_gone(remote(away, missing))


def test_jobs_without_a_folder_serve_no_more(computer, tmp_path):
    """Neither the job nor the one it was taken from."""
    folders = [remote(computer, tmp_path / "gone") for _ in range(2)]
    scratch.forget(folders[:1])
    assert not any(folder.creator.base.caching.is_valid_cache for folder in folders)
    assert all(folder.is_cleaned for folder in folders)

"""What is reused from earlier runs, and what is not once the folders it needs were removed."""

import os
import re

import numpy as np
import pytest
from aiida import engine, orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from aiida.manage.caching import enable_caching

from aiida_dmi.workflows.cleaning import clean

from .conftest import jobs_of, said

STRICT = {"quality": {"bands": 1.0}, "force": False}


def cached(builder):
    """Run with what earlier runs computed."""
    with enable_caching():
        return engine.run_get_node(builder)[1]


def folders(node):
    """Remote folders of a workchain's jobs."""
    return [job.outputs.remote_folder for job in jobs_of(node)]


@pytest.fixture(scope="module")
def reused(only_source, quick_builder):
    """The same again, with caching."""
    assert only_source.is_finished_ok
    return cached(quick_builder())


@pytest.fixture(scope="module")
def failed(reused, quick_builder):
    """The same jobs, a model that fails the gate, and the wish to clean."""
    assert reused.is_finished_ok
    node = cached(quick_builder({**STRICT, "clean_workdir": True}))
    return node, [os.listdir(folder.get_remote_path()) for folder in folders(node)]


@pytest.fixture(scope="module")
def cleaned(failed, quick_builder):
    """The same again; all jobs come from the cache, and share their folders with those of the runs before."""
    assert failed[0].is_failed
    return cached(quick_builder({"clean_workdir": True}))


@pytest.fixture(scope="module")
def anew(cleaned, quick_builder):
    """The same again, once the folders are gone."""
    assert cleaned.is_finished_ok
    return cached(quick_builder())


def test_report_says_how_jobs_are_laid_out(quick_finished):
    assert re.search(r"scf: .*; \d ranks? in \d pools?, about 0\.\d GB a machine \(", said(quick_finished))


def test_second_run_computes_nothing(quick_finished, reused):
    assert reused.is_finished_ok, reused.exit_message
    originals, clones = jobs_of(quick_finished), jobs_of(reused)
    assert [job.process_label for job in clones] == [job.process_label for job in originals]
    assert not any(job.base.caching.is_created_from_cache for job in originals)
    sources = {job.process_label: job.base.caching.get_cache_source() for job in clones}
    assert all(sources.values()), sources
    assert {job.uuid for job in originals} >= set(sources.values())
    # Everything that computes a number: four programs of dmi-engine's and Quantum ESPRESSO's, and Wannier90.
    expected = {"PwCalculation", "Wannier90Calculation", "OverlapsCalculation", "WannierModelCalculation"}
    assert set(sources) == {*expected, "DmiCalculation"}
    np.testing.assert_array_equal(reused.outputs.response.dataset.D, quick_finished.outputs.response.dataset.D)


def test_failed_run_is_not_cleaned(failed):
    """Somebody will want to look at it, or go on from it."""
    node, contents = failed
    assert node.exit_status == 401
    assert re.search(r"quality gate: .*bands = ", node.exit_message)
    assert contents
    assert all(contents)
    assert not any(folder.is_cleaned for folder in folders(node))
    assert all(job.base.caching.is_valid_cache for job in jobs_of(node))


def test_folders_are_gone_after_cleaning(cleaned):
    assert cleaned.is_finished_ok, cleaned.exit_message
    jobs = jobs_of(cleaned)
    assert all(job.base.caching.is_created_from_cache for job in jobs)
    for folder in folders(cleaned):
        assert folder.is_cleaned
        assert folder.is_empty
        assert not os.path.exists(folder.get_remote_path())
    # Those of the model as soon as it is stored, the response's after it.
    assert f"cleaned {len(folders(cleaned)) - 1} folders" in said(cleaned)
    assert "cleaned 1 folders" in said(cleaned)


def test_no_job_of_a_cleaned_folder_is_a_cache_source(cleaned, reused, quick_finished, failed):
    """Neither the jobs of the run that cleaned, nor those that its jobs were taken from."""
    for node in (cleaned, reused, quick_finished, failed[0]):
        for folder in folders(node):
            assert folder.is_cleaned
            assert not folder.creator.base.caching.is_valid_cache


def test_after_cleaning_all_is_computed_anew(quick_finished, anew):
    assert anew.is_finished_ok, anew.exit_message
    assert not any(job.base.caching.is_created_from_cache for job in jobs_of(anew))
    ours, theirs = (n.outputs.response.dataset.D.values for n in (anew, quick_finished))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max())


def test_cleaned_scf_is_refused_as_parent(cleaned, quick_builder):
    scf = next(job for job in jobs_of(cleaned, "PwCalculation"))
    builder = quick_builder()
    with pytest.raises(ValueError, match="was cleaned, its density is gone; run the scf again"):
        builder.wannier_model.parent_folder = scf.outputs.remote_folder


@pytest.fixture
def ran(tmp_path):
    """A workchain with one job, whose folder is `tmp_path / 'job'` unless another computer is given."""

    def make(computer, state):
        workchain = orm.WorkChainNode()
        workchain.set_process_state(state)
        workchain.store()
        job = orm.CalcJobNode(computer=computer, process_type="aiida.calculations:dmi.response")
        job.set_option("resources", {"num_machines": 1})
        job.base.links.add_incoming(workchain, LinkType.CALL_CALC, "job")
        job.set_process_state(ProcessState.FINISHED)
        job.set_exit_status(0)
        job.store()
        (tmp_path / "job").mkdir(exist_ok=True)
        folder = orm.RemoteData(computer=computer, remote_path=str(tmp_path / "job"))
        folder.base.links.add_incoming(job, LinkType.CREATE, "remote_folder")
        folder.store()
        return workchain, job.seal(), folder

    return make


def test_a_folder_that_another_run_is_using_stays(ran, computer):
    """Two runs share a folder through the cache; the first to end must not take it from the other."""
    ended, _, folder = ran(computer, ProcessState.FINISHED)
    running, job, theirs = ran(computer, ProcessState.WAITING)
    removed, (line,) = clean(ended)
    assert removed == 0
    assert line.endswith(f"stays, {running.process_label}<{running.pk}> is using it")
    assert job.base.caching.is_valid_cache
    assert os.path.isdir(folder.get_remote_path())
    running.set_process_state(ProcessState.FINISHED)
    assert clean(ended) == (1, [])
    assert theirs.is_cleaned
    assert not job.base.caching.is_valid_cache
    assert not os.path.exists(folder.get_remote_path())
    assert clean(running) == (0, [])


def test_a_folder_that_cannot_be_reached_is_named(ran, tmp_path):
    """The results are stored: this is no reason to fail; but nothing starts from that folder any more."""
    away = orm.Computer("away", "cluster.example", "", "core.local", "core.direct", str(tmp_path)).store()
    ended, job, folder = ran(away, ProcessState.FINISHED)
    removed, (line,) = clean(ended)
    assert removed == 0
    assert line.startswith(f"{tmp_path / 'job'} could not be removed (")
    assert not job.base.caching.is_valid_cache
    assert not folder.is_cleaned

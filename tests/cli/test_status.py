"""`aiida-dmi status` of processes that were cut off before they had a state."""

import re

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.tools import delete_nodes
from click.testing import CliRunner

from aiida_dmi.cli import cli


@pytest.fixture
def cut_off(aiida_profile, computer):
    """A run whose interpreter was killed as it stored a job, and one that was killed as it stored the run itself."""
    run, bare = orm.WorkChainNode(label="half a run"), orm.WorkChainNode(label="no state")
    for node in (run, bare):
        node.set_process_label("DmiWorkChain")
    run.set_process_state("waiting")
    run.store()
    bare.store()
    job = orm.CalcJobNode(computer=computer)
    job.set_process_label("DmiCalculation")
    job.base.links.add_incoming(run, LinkType.CALL_CALC, "response")
    job.store()
    yield run, bare, job
    delete_nodes([run.pk, bare.pk], dry_run=False)


def test_a_run_that_was_cut_off_before_it_had_a_state(cut_off):
    run, bare, _ = cut_off
    listed = CliRunner().invoke(cli, ["status"])
    assert listed.exit_code == 0, listed.exception
    assert re.search(rf"^ *{bare.pk} .* no state +DmiWorkChain +created$", listed.output, re.MULTILINE)
    assert re.search(rf"^ *{run.pk} .* half a run +DmiWorkChain +waiting: response$", listed.output, re.MULTILINE)


def test_a_job_that_was_cut_off_before_it_had_a_state(cut_off):
    run, _, job = cut_off
    one = CliRunner().invoke(cli, ["status", str(run.pk)])
    assert one.exit_code == 0, one.exception
    assert re.search(rf"^ *{job.pk} +response +created ", one.output, re.MULTILINE)

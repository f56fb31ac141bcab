"""Where AiiDA's types allow for what cannot be: a clear word if it is so after all."""

import pytest
from aiida import orm

from aiida_dmi.aiida_types import computer_of, exit_code, node_of, pk_of, state_of
from aiida_dmi.parsers.response import DmiParser


def test_pk_of_a_node_that_is_not_stored(aiida_profile):
    node = orm.Int(1)
    with pytest.raises(ValueError, match="it is not stored and has no pk"):
        pk_of(node)
    assert pk_of(node.store()) == node.pk


def test_computer_of_what_has_none(aiida_profile, computer):
    assert computer_of(orm.RemoteData("/there", computer=computer)) == computer
    with pytest.raises(ValueError, match="it has no computer"):
        computer_of(orm.Int(1))


def test_node_of_another_kind(aiida_profile):
    node = orm.Int(1).store()
    assert node_of(node.pk, orm.Int) == node
    with pytest.raises(ValueError, match=f"pk {node.pk} is a Int, expected a ProcessNode"):
        node_of(node.pk, orm.ProcessNode)


def test_state_of_a_process(aiida_profile):
    node = orm.CalcJobNode()
    assert state_of(node) == "created"
    node.set_process_state("killed")
    assert state_of(node) == "killed"


def test_exit_code_with_its_message(aiida_profile):
    parser = DmiParser(orm.CalcJobNode(process_type="aiida.calculations:dmi.response"))
    code = exit_code(parser, "ERROR_BAD_INPUT", message="mesh: 0 was given")
    assert code.status == parser.exit_codes.ERROR_BAD_INPUT.status
    assert "mesh: 0 was given" in code.message
    assert exit_code(parser, "ERROR_OUTPUT_STDOUT_MISSING") == parser.exit_codes.ERROR_OUTPUT_STDOUT_MISSING

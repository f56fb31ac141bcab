"""Which node a text stands for."""

import uuid

import pytest
from aiida import orm

from aiida_dmi.data.lookup import find_node
from aiida_dmi.engine.errors import InputError


@pytest.fixture
def make(aiida_profile):
    """A stored run of a label."""

    def run(label="", kind=orm.WorkChainNode, **arguments):
        return kind(label=label, **arguments).store()

    return run


def test_pk_uuid_and_its_beginning(make):
    node = make("a run")
    for text in (str(node.pk), node.uuid, node.uuid.upper(), node.uuid.replace("-", ""), node.uuid[:8], node.uuid[:13]):
        assert find_node(text).pk == node.pk, text


@pytest.mark.parametrize("length", [1, 2, 4, 6, 7])
def test_fewer_than_eight_digits_are_no_uuid(make, length):
    while (node := make()).uuid[0].isdigit():
        pass  # digits alone are a pk
    text = node.uuid[:length]
    with pytest.raises(InputError, match="no node has this pk, uuid or label"):
        find_node(text)


@pytest.mark.parametrize(
    "label", ["Fe", "beef", "51e7", "1e5", "fade", "ADD", "0xff", "1_000", "deadbeef", "cafe-cafe", "12ab"]
)
def test_a_label_of_hexadecimal_digits_is_a_label(make, label):
    node = make(label)
    assert find_node(label).pk == node.pk


def test_a_label_wins_over_another_nodes_uuid(make):
    other = make()
    labelled = make(other.uuid[:8])
    assert find_node(other.uuid[:8]).pk == labelled.pk
    assert find_node(other.uuid[:9]).pk == other.pk


def test_a_label_of_digits_where_no_node_has_that_pk(make):
    label = str(10**9 + uuid.uuid4().int % 10**8)
    node = make(label)
    assert find_node(label).pk == node.pk


def test_digits_that_are_a_pk_and_a_label(make):
    """Silently one of the two would be the wrong one for somebody; its own pk is no doubt."""
    first = make("first")
    second = make(str(first.pk))
    with pytest.raises(InputError, match=rf"a pk \(of Node|a pk \(of .*<{first.pk}>\) and a label") as refused:
        find_node(str(first.pk))
    assert first.uuid in str(refused.value)
    assert second.uuid in str(refused.value)
    assert find_node(first.uuid).pk == first.pk
    own = make("own")
    own.label = str(own.pk)
    assert find_node(str(own.pk)).pk == own.pk


def test_a_run_before_a_film_of_its_label(make):
    label = f"film {uuid.uuid4()}"
    film = make(label, orm.StructureData, cell=[[3, 0, 0], [0, 3, 0], [0, 0, 9]])
    assert find_node(label).pk == film.pk
    run = make(label)
    assert find_node(label).pk == run.pk
    make(label)
    with pytest.raises(InputError, match=rf"2 nodes have it, the newest pk \d+ of .*, pk {run.pk} of"):
        find_node(label)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "%",
        "_",
        "________",
        "a%",
        "9" * 18,
        "9" * 30,
        "-5",
        "+5",
        "1.0",
        "\u00b2",
        "\uff11\uff12",
        "nothing",
        "0",
        "00000000-",
        "-" * 36,
    ],
)
def test_what_no_node_has(make, text):
    make()
    with pytest.raises(InputError, match="no node has this pk, uuid or label"):
        find_node(text)


@pytest.mark.parametrize("text", ["\ud800", "a\x00b"])
def test_what_no_database_takes(make, text):
    """It is not asked: after an error of its own AiiDA's session is closed, for everybody."""
    node = make()
    with pytest.raises(InputError, match="no node has this pk, uuid or label"):
        find_node(text)
    assert find_node(node.uuid).user.email

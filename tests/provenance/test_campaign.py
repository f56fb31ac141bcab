"""A real campaign from the command line, tiny, and every question to what it leaves; once more after an import."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from aiida import orm
from aiida.common.links import LinkType
from aiida.tools.archive import create_archive
from click.testing import CliRunner

from aiida_dmi.cli import cli
from aiida_dmi.engine.errors import InputError
from aiida_dmi.provenance import queries
from aiida_dmi.provenance.protocol import nearest_protocol
from aiida_dmi.provenance.trace import trace
from aiida_dmi.screening.campaign import campaign_group
from aiida_dmi.screening.table import campaign_table

NAME = "tiny"
KEYS = r" \[\w{6}\]"
"""What tells films of one label apart."""

SPEC = {
    "name": NAME,
    # The same film twice: with a moment, and without one it cannot have a DMI. Ni is not in the tests' family.
    "systems": [
        {"film": "Co/Pt(111):1+1"},
        {"film": "Co/Pt(111):1+1", "moments": {"Co": 1e-6}, "dopings": []},
        {"film": "Ni/Pt(111):1+1", "dopings": []},
    ],
    "dopings": [{"vca": {"Co.1": {"Mn": [0.1]}}}],
    "shifts": [-0.1, 0.1],
    "options": {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}},
    "overrides": {
        "scf": {"kpoints_mesh": [2, 2], "parameters": {"SYSTEM": {"ecutwfc": 25.0, "ecutrho": 100.0}}},
        "bands": {"random_points": 2},
        "wannierisation": {"kpoints_mesh": [2, 2], "retries": 0},
        "response": {"mesh": 16, "soi_scales": [1.0], "temperatures": [1500.0]},
        "force": True,
    },
}


@pytest.fixture(scope="module")
def invoke(aiida_profile, codes, pseudo_family, tmp_path_factory):
    """`aiida-dmi` in this profile; the spec's file is tiny.yaml."""
    folder = tmp_path_factory.mktemp("campaign")
    spec = {**SPEC, "codes": {name: code.full_label for name, code in codes.items()}}
    spec["overrides"] = {**SPEC["overrides"], "pseudo_family": pseudo_family.label}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(spec))

    def run(*arguments, status=0):
        words = [str(folder / word) if word == "tiny.yaml" else word for word in arguments]
        result = CliRunner().invoke(cli, ["-p", aiida_profile.name, *words], catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result.output

    return run


@pytest.fixture(scope="module")
def campaign(invoke):
    """What the first run said."""
    return invoke("screen", "tiny.yaml", "--run", "--max-active", "2", status=1)


@pytest.fixture(scope="module")
def table(campaign):
    return campaign_table(NAME)


@pytest.fixture(scope="module")
def response(table):
    """The undoped film's result."""
    return orm.load_node(table["response"][0])


def counted(kind):
    return orm.QueryBuilder().append(kind).count()


def test_dry_run_lists_candidates_and_stores_nothing(invoke):
    before = counted(orm.Node)
    said = invoke("screen", "tiny.yaml", "--dry-run")
    assert counted(orm.Node) == before
    assert "Co/Pt(111) 1+1, Co.1 = Co0.9Mn0.1" in re.sub(KEYS, "", said)
    assert "has none for Ni" in " ".join(said.split())
    assert "4 candidates, 1 refused, 3 Fermi-level shifts each" in said


def test_those_that_fail_stop_nobody(campaign, table):
    assert "4 of 4 candidates: 2 finished, 1 failed, 1 refused" in campaign
    states = dict(zip(table["label"].str.replace(KEYS, "", regex=True) + table["state"], table["message"], strict=True))
    assert set(states) == {
        "Co/Pt(111) 1+1finished",
        "Co/Pt(111) 1+1, Co.1 = Co0.9Mn0.1finished",
        "Co/Pt(111) 1+1failed",
        "Ni/Pt(111) 1+1refused",
    }
    assert "the film lost its moment" in states["Co/Pt(111) 1+1failed"]
    assert "lacks an element" in states["Ni/Pt(111) 1+1refused"]
    finished = table[table["state"] == "finished"]
    columns = [
        f"{name}_yx_{unit}"
        for name in ("D", "Q_1", "a_I", "a_II")
        for unit in ("meV_angstrom", "pJ_per_m", "mJ_per_m2")
    ]
    assert finished[[*columns, "closure", "bands", "spin_overlap"]].notna().all().all()
    # So coarse a mesh does not resolve kT.
    assert finished[[f"{column}_error" for column in columns]].isna().all().all()


def test_run_again_computes_nothing(invoke, campaign):
    before = counted(orm.ProcessNode)
    assert "4 of 4 candidates" in invoke("screen", "tiny.yaml", "--run", status=1)
    assert counted(orm.ProcessNode) == before


def test_films_by_their_numbers(table):
    found = queries.films(campaign=NAME)
    assert set(found["response"]) == set(table["response"].dropna())
    largest = table["D_yx_pJ_per_m"].abs().max()
    above = queries.films(least=0.999 * largest, campaign=NAME)
    assert above["D"].abs().tolist() == pytest.approx([largest])
    assert queries.films(least=1.001 * largest, campaign=NAME).empty
    worst = table["closure"].max()
    assert len(queries.films(most_closure=worst * 0.999, campaign=NAME)) == len(found) - 1
    assert queries.films(unit="mJ_per_m2", passed=True, campaign=NAME)["exit_status"].tolist() == [0, 0]
    with pytest.raises(InputError, match="zz in pJ_per_m was given, expected yx or xy"):
        queries.films(component="zz")


@pytest.mark.parametrize(("element", "films"), [("Co", 2), ("Pt", 2), ("Mn", 1), ("W", 0)])
def test_what_a_wrong_pseudopotential_would_touch(table, pseudo_family, element, films):
    """Mn stands in the mixture alone. The known ways find what the whole graph holds."""
    found = queries.made_with_pseudo(f"{pseudo_family.label}:{element}")
    whole = queries.made_with_pseudo(pseudo_family.get_pseudo(element), exhaustive=True)
    assert len(found[found["response"].isin(table["response"])]) == films
    assert found["response"].tolist() == whole["response"].tolist()


@pytest.mark.parametrize("name", ["pw", "wannier90", "engine", "pw2wannier90"])
def test_what_a_code_made(table, codes, name):
    found = queries.made_with_code(codes[name].full_label)
    assert found["response"].tolist() == queries.made_with_code(codes[name], exhaustive=True)["response"].tolist()
    assert len(found[found["response"].isin(table["response"])]) == (0 if name == "pw2wannier90" else 2)


def test_what_a_version_made(table, response):
    version = response.base.attributes.get("engine_version")
    assert set(table["response"].dropna()) <= set(queries.made_with_version(version)["response"])
    assert queries.made_with_version("0.0.0").empty


def test_unknown_names_are_refused(campaign):
    with pytest.raises(InputError, match=r"pseudo: 'Xx\.upf' was given, expected a uuid"):
        queries.made_with_pseudo("Xx.upf")
    with pytest.raises(InputError, match="code: 'absent' was given, see `verdi code list"):
        queries.made_with_code("absent")
    with pytest.raises(InputError, match="image: no code runs in 'nope'"):
        queries.made_with_image("nope")


def test_from_a_number_back_to_the_slab(table, response):
    chain = orm.load_node(table["workchain"][0])
    slab = queries.slab_of(response)
    assert slab.uuid == table["structure"][0] == chain.inputs.structure.uuid
    assert queries.slab_of(orm.load_node(table["response"][1])).creator.process_label == "build_bilayer"
    tree = trace(response)
    for words in (
        f"workflow: DmiWorkChain<{chain.pk}> Co/Pt(111) 1+1",
        "protocol fast; inputs that differ:",
        "response.mesh = 16 (protocol: not set)",
        "scf.parameters.SYSTEM.ecutwfc = 25.0 (protocol: 50.0)",
        f"slab: StructureData<{slab.pk}> Co/Pt(111) 1+1, uuid {slab.uuid}",
        ", scf, code pw@dmi-localhost, pwscf ",
        ", nscf, code pw@dmi-localhost, pwscf ",
        "'magnet': 'Co'",
        "Pt.UPF, md5 ",
        "build_bilayer<",
    ):
        assert words in tree, tree
    # Every job of the run that the result rests on stands in the tree.
    for job in chain.called_descendants:
        if isinstance(job, orm.CalcJobNode) and job.base.links.get_outgoing(link_type=LinkType.CREATE).all():
            rests = orm.QueryBuilder().append(orm.Node, filters={"id": job.pk}, tag="job")
            rests.append(orm.Node, with_ancestors="job", filters={"id": response.pk})
            assert (f"{job.process_label}<{job.pk}>" in tree) == bool(rests.count()), job


def test_trace_of_the_run_and_of_what_has_no_history(table, campaign, model_node):
    chain = orm.load_node(table["workchain"][0])
    assert trace(chain) == trace(chain.outputs.response)
    with pytest.raises(InputError, match="was not computed in this profile"):
        trace(model_node.store())
    failed = orm.load_node(table[table["state"] == "failed"]["workchain"].item())
    with pytest.raises(InputError, match="has no response or model"):
        trace(failed)


def test_differences_from_the_protocol(table):
    name, differences = nearest_protocol(orm.load_node(table["workchain"][0]))
    assert name == "fast"
    assert set(differences) == {
        "bands.random_points",
        "force",
        "pseudo_family",
        "response.fermi_shifts",
        "response.mesh",
        "response.soi_scales",
        "response.temperatures",
        "response.tolerance",
        "scf.kpoints_mesh",
        "scf.parameters.SYSTEM.ecutrho",
        "scf.parameters.SYSTEM.ecutwfc",
        "wannierisation.kpoints_mesh",
        "wannierisation.retries",
    }


def test_archive_keeps_all_of_it(invoke, campaign, table, response, pseudo_family, tmp_path):
    """Export the campaign, import it into a fresh profile of another folder: the same answers there."""
    archive = tmp_path / "campaign.aiida"
    create_archive([campaign_group(NAME)], filename=archive)
    questions = {
        "films.json": ["query", "films", "--min-d", "0.001", "--max-closure", "100", "--campaign", NAME],
        "pseudo.json": ["query", "made-with", "--pseudo", "Mn.UPF"],
        "table.json": ["table", NAME],
        "points.json": ["table", NAME, "--points"],
    }
    for name, question in questions.items():
        invoke(*question, "--output", str(tmp_path / f"here-{name}"))
    script = (
        "import sys\n"
        "from aiida.tools.archive import import_archive\n"
        "from aiida_dmi.cli.setup import ensure_profile\n"
        "ensure_profile()\n"
        "import_archive(sys.argv[1])\n"
        "from click.testing import CliRunner\n"
        "from aiida_dmi.cli import cli\n"
        "import json\n"
        "for words in json.loads(sys.argv[2]):\n"
        "    result = CliRunner().invoke(cli, words, catch_exceptions=False)\n"
        "    assert result.exit_code == 0, result.output\n"
        "print(result.output)\n"
    )
    words = [[*question, "--output", str(tmp_path / f"there-{name}")] for name, question in questions.items()]
    fresh = subprocess.run(
        [sys.executable, "-c", script, str(archive), json.dumps([*words, ["trace", response.uuid]])],
        env={**os.environ, "AIIDA_PATH": str(tmp_path / "fresh")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert fresh.returncode == 0, fresh.stdout + fresh.stderr
    for name in questions:
        here, there = (json.loads((tmp_path / f"{side}-{name}").read_text()) for side in ("here", "there"))
        assert here == there
        assert here
    # Numbers of nodes differ between profiles, nothing else does.
    assert [line.count("─") for line in fresh.stdout.strip().splitlines()] == [
        line.count("─") for line in trace(response).splitlines()
    ]
    # What the inputs were made by is known there too: recorded, not guessed.
    assert "  protocol fast; inputs that differ:" in fresh.stdout
    assert "pseudo_family = tests/PBE/FR (protocol: " in fresh.stdout

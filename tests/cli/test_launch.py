"""`aiida-dmi launch`, `status` and `setup` as a user calls them."""

import sys

import ase.io
import click
import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_dmi import cli
from aiida_dmi.cli.inputs import load_node
from aiida_dmi.cli.verdi import response as verdi_response
from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.bilayer import co_pt111, mn_w001


@pytest.fixture
def call(codes, pseudo_family, monkeypatch):
    """Run a command line in the tests' profile; its result."""

    def run(*arguments):
        arguments = [str(a) for a in arguments]
        monkeypatch.setattr(sys, "argv", ["aiida-dmi", *arguments])
        return CliRunner().invoke(cli.cli, arguments)

    return run


@pytest.fixture
def options(codes, pseudo_family):
    return ("--computer", codes["pw"].computer.label, "--family", pseudo_family.label)


def commands(command, context, path=()):
    """Every command and group below one, with its words."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            yield from commands(child, click.Context(child, parent=context), (*path, name))


def test_every_help_has_an_example(call):
    found = dict(commands(cli.cli, click.Context(cli.cli)))
    assert len(found) > 20
    for words in found:
        shown = call(*words, "--help").output
        assert f"    aiida-dmi {' '.join(words)}".rstrip() in shown or "=$PWD/.aiida aiida-dmi setup" in shown, words
    for words, command in commands(verdi_response, click.Context(verdi_response)):
        assert f"verdi data dmi.response {' '.join(words)}".rstrip() in command.help
    assert set(cli.COMMANDS) <= set(call("--help").output.split())


def test_dry_run_says_what_would_run(call, options):
    before = orm.QueryBuilder().append(orm.ProcessNode).count()
    result = call("launch", "dmi", "Mn/W(001):1+3", *options, "--dry-run", "--np", "2", "--set", "response.mesh=96")
    assert result.exit_code == 0, result.output
    for words in (
        "W.3 at 5.00, W.2 at 6.58, W.1 at 8.16, Mn.1 at 9.65",
        "low of tests/PBE/FR, Mn needs most",
        "scf mesh 7x7, 2 ranks",
        "mesh 5x5 (6 k points in the nscf), orbitals s p d on every atom (atomic), window to E_F + 2 eV",
        "response   mesh 96; 6 xi, 21 shifts",
        "layout     scf: 2 ranks in 2 pools, about ",
        "layout     response: 2 processes, about ",
        "core hours, to a factor of two: scf ",
        "nothing was started",
    ):
        assert words in result.output
    # The builder of the film is a calcfunction; nothing else ran.
    labels = orm.QueryBuilder().append(orm.ProcessNode, project="attributes.process_label").all(flat=True)[before:]
    assert set(labels) <= {"build_bilayer"}


def test_dry_run_says_what_becomes_of_what_the_functions_leave_out(call, options, codes, model_file):
    def said(*arguments):
        result = call("launch", *arguments, "--dry-run")
        assert result.exit_code == 0, result.output
        return result.output

    film = ("dmi", "Co/Pt(111):1+1", *options)
    assert "exact      not asked for" in said(*film)
    balanced = said(*film, "--protocol", "balanced")
    assert "plane waves on 12x12, from the Wannier functions' nscf; what was missing is put back" in balanced
    assert ", completeness " in balanced.partition("time ")[2]
    assert "second nscf" not in balanced
    other = said(*film, "--set", "completeness.kpoints_mesh=[8,8]")
    assert "plane waves on 8x8, from a nscf of its own" in other
    assert "second nscf" in other.partition("time ")[2]
    computer = codes["engine"].computer.label
    assert "exact      left out" in said("response", model_file, "--computer", computer, "--protocol", "balanced")
    refused = call("launch", "model", "Co/Pt(111):1+1", *options, "--set", "completeness={}", "--dry-run")
    assert isinstance(refused.exception, InputError)
    assert "completeness: it is put into a response, and a model alone has none" in str(refused.exception)


def test_dry_run_says_what_was_changed_for_wannier90(call, options, tmp_path):
    """A cell whose height is five times its side, on ten points along it."""
    film = mn_w001(1, 1).get_ase()
    film.cell[2, 2] = 5 * film.cell[0, 0]
    ase.io.write(tmp_path / "film.xsf", film)
    words = (*options, "-n", "--set", "wannierisation.kpoints_distance=0.2")
    result = call("launch", "dmi", tmp_path / "film.xsf", *words)
    assert result.exit_code == 0, result.output
    assert "Wannier    mesh 11x11" in result.output
    assert "neighbours mesh 11x11: 10x10 is without neighbours for Wannier90 (20 neighbours of a k" in result.output
    assert "neighbours" not in call("launch", "dmi", "Co/Pt(111):1+1", *words).output


def test_dry_run_warns_where_a_machine_is_too_small(call, options, codes):
    computer = codes["pw"].computer
    words = ("launch", "dmi", "Co/Pt(111):1+1", *options, "-n", "--np", "4", "--pools", "2")
    assert "warning" not in call(*words).output
    before = computer.get_default_memory_per_machine()
    computer.set_default_memory_per_machine(300_000)
    try:
        result = call(*words)
    finally:
        computer.set_default_memory_per_machine(before)
    assert result.exit_code == 0, result.output
    assert "layout     scf: 4 ranks in 2 pools, about" in result.output
    assert f"a machine of {computer.label} has 0.31 GB: take fewer ranks" in result.output
    refused = call("launch", "model", "Co/Pt(111):1+1", *options, "-n", "--np", "4", "--pools", "3")
    assert "npool: 3 was given, expected a divisor of the 4 ranks" in str(refused.exception)


def test_film_from_a_file_and_from_a_node(call, options, tmp_path):
    film = co_pt111(1, 2)
    atoms = film.get_ase()
    atoms.pbc = True
    ase.io.write(tmp_path / "slab.cif", atoms)
    for text in (tmp_path / "slab.cif", film.store().pk, film.uuid):
        result = call("launch", "dmi", text, *options, "-n")
        assert result.exit_code == 0, result.output
        assert "Pt.2 at" in result.output
        assert "Co.1 at" in result.output


def test_response_of_a_model_file(call, codes, model_file):
    arguments = [
        "--computer",
        codes["pw"].computer.label,
        "--set",
        "response.mesh=4",
        "--set",
        "response.soi_scales=[1]",
    ]
    arguments += ["--set", "force=true", "--set", "response.temperatures=[1500.0]"]
    result = call("launch", "response", model_file, *arguments)
    assert result.exit_code == 0, result.output
    assert "D_yx" in result.output
    assert "mJ/m^2" in result.output
    node = orm.QueryBuilder().append(orm.WorkChainNode, filters={"attributes.process_label": "DmiWorkChain"},
                                     project="*").all(flat=True)[-1]  # fmt: skip
    assert node.outputs.output_parameters["thickness_angstrom"] == pytest.approx(2.0432130552, abs=1e-6)
    assert f"uuid {node.uuid}" in result.output
    listed = call("status")
    assert f"{node.pk} " in listed.output
    assert "finished" in listed.output
    one = call("status", node.pk)
    assert "response" in one.output
    assert "verdi process report" in one.output
    again = call("launch", "response", node.pk, *arguments, "-n")
    assert again.exit_code == 0, again.output
    assert "layout     response: 1 process, about 0.2 GB a machine" in again.output
    assert "s of work are not worth" in again.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Mn/W(111):1+3"], "(111)"),
        (["slab.cif"], "'slab.cif' was given, expected a film such as 'Mn/W(001):1+9'"),
        (["123456789"], "no node has this pk, uuid or label"),
        (["Co/Pt(111):1+1", "--set", "response.mesh"], "expected KEY=VALUE"),
        (["Co/Pt(111):1+1", "--set", "responses.mesh=3"], "responses is unknown"),
        (["Co/Pt(111):1+1", "--protocol", "quick"], "'quick' is not one of 'fast', 'balanced', 'stringent'"),
        (["Co/Pt(111):1+1", "--moment", "Co=much"], "expected NAME=MOMENT"),
        (["Co/Pt(111):1+1", "--moment", "Fe=2"], "'Fe' is no part of this film"),
        (
            ["Co/Pt(111):1+1", "--set", "response.mesh=fine", "-n"],
            "mesh: 'fine' was given, expected a positive integer",
        ),
        (["Co/Pt(111):1+1", "--set", "response.temperatures=300", "-n"], "temperatures: 300 was given"),
        (
            ["Co/Pt(111):1+1", "--set", "force=maybe", "-n"],
            "overrides: force: 'maybe' was given, expected true or false",
        ),
        (["Co/Pt(111):1+1", "--set", "scf.kpoints_mesh=6", "-n"], "scf.kpoints_mesh: 6 was given, expected two whole"),
        (["Co/Pt(111):1+1", "--set", "scf.kpoints_distance=0", "-n"], "scf.kpoints_distance: 0 was given"),
        (["Co/Pt(111):1+1", "--set", "response.symmetry=maybe", "-n"], "response.symmetry: 'maybe' was given"),
        (
            ["Co/Pt(111):1+1", "--set", "scf.parameters.SYSTEM.ecutwcf=90", "-n"],
            "ecutwcf is no keyword of pw.x's SYSTEM",
        ),
        (["Co/Pt(111):1+1", "--set", "scf.parameters.SYSTEM.nspin='2'", "-n"], "nspin: '2' was given, expected 2 or"),
        (["Co/Pt(111):1+1", "--moment", "Co=20", "-n"], "moments: 20 mu_B was given for Co, expected at most 17"),
        (["Co/Pt(111):1+1", "--moment", "Co=nan", "-n"], "expected NAME=MOMENT"),
        (["Co/Pt(111):1+1", "--walltime", "soon"], "see `aiida-dmi launch dmi --help`"),
        (["Co/Pt(111):1+1", "--computer", "nowhere"], "no code pw@nowhere; make it with `aiida-dmi setup"),
    ],
)
def test_bad_input_is_one_line(call, options, arguments, message, monkeypatch, capsys):
    """Through the entry point, as from a shell: exit status 2, the last line says what to do."""
    everything = ["launch", "dmi", arguments[0], *options, *arguments[1:]]
    monkeypatch.setattr(sys, "argv", ["aiida-dmi", *everything])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("aiida-dmi: ")
    assert message in lines[0]


def test_response_refuses_what_it_would_not_use(call, codes, model_file):
    """The cutoff of a finished model's scf is what it was."""
    words = ("launch", "response", model_file, "--computer", codes["pw"].computer.label, "-n", "--set")
    result = call(*words, "scf.parameters.SYSTEM.ecutwfc=90")
    assert isinstance(result.exception, InputError)
    assert "scf: not used with a finished model; expected film, response, quality, force" in str(result.exception)
    assert call(*words, "quality.closure=null").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [["-v", "debug", "status", "nothing"], ["status", "nothing", "--verbosity=debug"], ["model", "-vdebug", "inspect"]],
)
def test_debug_shows_the_trace(call, monkeypatch, capsys, arguments):
    """Wherever -v stands."""
    monkeypatch.setattr(sys, "argv", ["aiida-dmi", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("aiida-dmi: ")


def test_label_means_the_run_that_has_it(aiida_profile):
    label = "a film and its run"
    film = orm.StructureData(cell=[[3, 0, 0], [0, 3, 0], [0, 0, 9]], label=label).store()
    assert load_node(label).pk == film.pk
    first = orm.WorkChainNode(label=label).store()
    assert load_node(label).pk == first.pk
    second = orm.WorkChainNode(label=label).store()
    with pytest.raises(click.UsageError, match=rf"2 nodes have it, the newest pk {second.pk} of .* pk {first.pk} of"):
        load_node(label)


def test_setup_check_runs_every_code(call, codes, pseudo_family):
    arguments = ("setup", "--check", "--computer", codes["pw"].computer.label)
    good = call(*arguments, "--family", pseudo_family.label)
    assert good.exit_code == 0, good.output
    for words in (
        "Program PWSCF",
        "Program PW2WANNIER",
        "Program POST-PROC",
        "Wannier90: 3",
        "dmi-engine 0",
        "4 elements",
    ):
        assert words in good.output
    bad = call(*arguments, "--family", "no/such")
    assert bad.exit_code == 1
    assert "pseudopotential family no/such: NOT THERE" in bad.output
    assert "1 of 6 not ready" in bad.output


def test_overrides_from_a_file(call, options, tmp_path):
    path = tmp_path / "overrides.yaml"
    path.write_text("scf: {parameters: {SYSTEM: {ecutwfc: 44.0, ecutrho: 176.0}}}\n")
    result = call("launch", "model", "Co/Pt(111):1+1", *options, "--overrides", path, "-n")
    assert "cutoffs    44 and 176 Ry, given; " in result.output
    path.write_text("[1, 2]")
    assert "expected keys and values" in call("launch", "model", "Co/Pt(111):1+1", *options, "--overrides", path).output


def test_node_without_a_film(call, options, aiida_profile):
    pk = orm.Dict({"a": 1}).store().pk
    result = call("launch", "dmi", pk, *options)
    assert result.exit_code == 2
    assert f"Dict<{pk}> has no structure" in result.output

"""`aiida-dmi launch`, `status` and `setup` as a user calls them."""

import sys

import ase.io
import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_dmi import cli
from aiida_dmi.structures.bilayer import co_pt111


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


def test_help_has_an_example_everywhere(call):
    assert "aiida-dmi launch dmi 'Co/Pt(111):1+1'" in call("--help").output
    for command in (("launch", "dmi"), ("launch", "model"), ("launch", "response"), ("status",), ("setup",), ("demo",)):
        output = call(*command, "--help").output
        assert "Example:" in output, command
        assert "aiida-dmi " in output.partition("Example:")[2]
    assert set(cli.COMMANDS) <= set(call("--help").output.split())


def test_dry_run_says_what_would_run(call, options):
    before = orm.QueryBuilder().append(orm.ProcessNode).count()
    result = call("launch", "dmi", "Mn/W(001):1+3", *options, "--dry-run", "--np", "2", "--set", "response.mesh=96")
    assert result.exit_code == 0, result.output
    for words in (
        "W.3 at 5.00, W.2 at 6.58, W.1 at 8.16, Mn.1 at 9.65",
        "50 Ry, scf mesh 7x7, 2 ranks",
        "mesh 5x5, orbitals s p d",
        "response   mesh 96; 6 xi, 21 shifts",
        "nothing was started",
    ):
        assert words in result.output
    # The builder of the film is a calcfunction; nothing else ran.
    labels = orm.QueryBuilder().append(orm.ProcessNode, project="attributes.process_label").all(flat=True)[before:]
    assert set(labels) <= {"build_bilayer"}


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Mn/W(111):1+3"], "(111)"),
        (["slab.cif"], "'slab.cif' was given, expected a film such as 'Mn/W(001):1+9'"),
        (["123456789"], "no node has this pk or uuid"),
        (["Co/Pt(111):1+1", "--set", "response.mesh"], "expected KEY=VALUE"),
        (["Co/Pt(111):1+1", "--set", "responses.mesh=3"], "responses is unknown"),
        (["Co/Pt(111):1+1", "--protocol", "quick"], "expected one of fast, balanced, stringent"),
        (["Co/Pt(111):1+1", "--moment", "Co=much"], "expected NAME=MOMENT"),
        (["Co/Pt(111):1+1", "--moment", "Fe=2"], "'Fe' is no part of this film"),
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
    assert message in " ".join(lines)
    assert "Traceback" not in lines[0]


def test_debug_shows_the_trace(call, options, monkeypatch, capsys):
    arguments = ["-v", "debug", "launch", "dmi", "Co/Pt(111):1+1", *options, "--protocol", "quick"]
    monkeypatch.setattr(sys, "argv", ["aiida-dmi", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Traceback" in capsys.readouterr().err


def test_setup_check_runs_every_code(call, codes, pseudo_family):
    arguments = ("setup", "--check", "--computer", codes["pw"].computer.label)
    good = call(*arguments, "--family", pseudo_family.label)
    assert good.exit_code == 0, good.output
    for words in ("Program PWSCF", "Program PW2WANNIER", "Wannier90: 3", "dmi-engine 0", "4 elements"):
        assert words in good.output
    bad = call(*arguments, "--family", "no/such")
    assert bad.exit_code == 1
    assert "pseudopotential family no/such: NOT THERE" in bad.output
    assert "1 of 5 not ready" in bad.output


def test_overrides_from_a_file(call, options, tmp_path):
    path = tmp_path / "overrides.yaml"
    path.write_text("scf: {parameters: {SYSTEM: {ecutwfc: 44.0, ecutrho: 176.0}}}\n")
    result = call("launch", "model", "Co/Pt(111):1+1", *options, "--overrides", path, "-n")
    assert "44 Ry" in result.output
    path.write_text("[1, 2]")
    assert "expected keys and values" in call("launch", "model", "Co/Pt(111):1+1", *options, "--overrides", path).output


def test_node_without_a_film(call, options, aiida_profile):
    pk = orm.Dict({"a": 1}).store().pk
    result = call("launch", "dmi", pk, *options)
    assert result.exit_code == 2
    assert f"Dict<{pk}> has no structure" in result.output

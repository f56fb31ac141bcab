"""What the command line can say of a film, and what it says of one: by file, by name, by a run, of a model."""

from __future__ import annotations

import sys

import ase
import ase.io
import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from click.testing import CliRunner

from aiida_dmi import cli
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.slab import film_from_ase, film_of
from aiida_dmi.workflows.dmi import DmiWorkChain

PT_SIDE = 2.772


@pytest.fixture
def launch(codes, pseudo_family, monkeypatch):
    """What `launch dmi ... --dry-run` prints; `fails`: its one line and exit status 2."""

    def run(*arguments, what="dmi", fails=False, capsys=None):
        words = ["launch", what, *map(str, arguments), "--computer", codes["pw"].computer.label, "--dry-run"]
        words += ["--family", pseudo_family.label] if what != "response" else []
        monkeypatch.setattr(sys, "argv", ["aiida-dmi", *words])
        if not fails:
            result = CliRunner().invoke(cli.cli, words)
            assert result.exit_code == 0, (result.output, result.exception)
            return result.output.splitlines()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


def column(path, symbols, steps, moments=None):
    """A file of layers on the sites of Pt(111) in turn; returns its path."""
    side = PT_SIDE
    sites = [(0, 0), (side / 2, side / 12**0.5), (side, side / 3**0.5)]
    heights = np.cumsum([2.0, *steps])
    atoms = ase.Atoms(symbols, positions=[[*sites[n % 3], z] for n, z in enumerate(heights)], pbc=True)
    atoms.set_cell([side, side, float(heights[-1]) + 14.0, 90, 90, 60])
    if moments is not None:
        atoms.set_initial_magnetic_moments(moments)
    ase.io.write(path, atoms, format="extxyz")
    return path


def line_of(lines, head):
    """The lines that begin with a word, joined."""
    return " | ".join(line[11:] for line in lines if line.split()[0] == head)


# -- every remedy that a message names is an option ------------------------------------------------------


def test_substrate_and_normal(launch, tmp_path):
    path = column(tmp_path / "slab.xyz", ["W", "W", "Co", "Pt", "Pt"], [2.2, 2.1, 2.0, 2.26])
    plain = launch(path)
    assert line_of(plain, "normal") == "+z as given; the other way D has the other sign"
    assert "neither side of the magnet has more layers (W below, Pt above)" in line_of(plain, "note")
    for said in (("--substrate", "Pt"), ("--normal", "down")):
        lines = launch(path, *said)
        assert line_of(lines, "layers") == "from the top: W.2, W.1, Co.1, Pt.1, Pt.2; substrate Pt, magnet Co, cap W"
        assert line_of(lines, "normal") == "+z from the substrate to the magnet"
        assert line_of(lines, "note").startswith("turned over: ")
        assert "t = 2.0000 Angstrom" in line_of(lines, "thickness")


def test_magnets(launch, tmp_path, capsys):
    path = column(tmp_path / "slab.xyz", ["Mn", "Pt", "Pt", "Co"], [2.2, 2.26, 2.04])
    refused = launch(path, fails=True, capsys=capsys)
    assert "two magnets with other layers in between were given (upwards: Mn / Pt / Pt / Co)" in refused
    assert "--magnets" in refused
    assert "--normal up or down" in refused
    one = launch(path, "--magnets", "Co")
    assert "substrate Mn/Pt, magnet Co" in line_of(one, "layers")
    assert line_of(one, "note") == "Mn starts without a moment (--moment Mn=MU_B)"
    both = launch(path, "--normal", "up")
    assert "magnet Mn/Co, spacer Pt" in line_of(both, "layers")
    assert line_of(both, "order") == "ferromagnetic (moments, mu_B: Co 2, Mn 4)"


def test_an_element_that_the_table_does_not_know(launch, tmp_path, capsys):
    path = column(tmp_path / "slab.xyz", ["Pt", "Pt", "W"], [2.26, 2.2])
    assert "give `magnets` (--magnets)" in launch(path, fails=True, capsys=capsys)
    refused = launch(path, "--magnets", "W", fails=True, capsys=capsys)
    assert refused.endswith("none is known for W (the table has Cr, Mn, Fe, Co, Ni); give it (--moment W=MU_B)")
    lines = launch(path, "--magnets", "W", "--moment", "W=1.5")
    assert line_of(lines, "order") == "ferromagnetic (moments, mu_B: W 1.5)"
    assert "t = 2.2000 Angstrom" in line_of(lines, "thickness")


def test_thickness(launch, tmp_path):
    path = column(tmp_path / "slab.xyz", ["Co"], [])
    lines = launch(path)
    assert line_of(lines, "thickness").startswith("t not defined: a single layer with nothing below; give `thickness`")
    assert (
        line_of(lines, "symmetry") == "D = 0 by symmetry, for every direction of n: the film has a centre of inversion"
    )
    assert "t = 2.1000 Angstrom (given)" in line_of(launch(path, "--thickness", "2.1"), "thickness")


def test_kinds(launch, capsys):
    refused = launch("Co/Pt(111):2+2", "--moment", "Co.1=1.7", fails=True, capsys=capsys)
    assert "atoms of kind Co were given 1.7 and 2 mu_B" in refused
    assert refused.endswith("(--kinds layer)")
    lines = launch("Co/Pt(111):2+2", "--moment", "Co.1=1.7", "--kinds", "layer")
    assert line_of(lines, "order") == "ferromagnetic (moments, mu_B: Co1 1.7, Co2 2)"


def test_moments_of_a_file(launch, tmp_path, capsys):
    moments = [0.0, 0.3, 1.9]
    path = column(tmp_path / "slab.xyz", ["Pt", "Pt", "Co"], [2.26, 2.04], moments)
    lines = launch(path)
    assert line_of(lines, "order") == "ferromagnetic (moments, mu_B: Co 1.9, Pt2 0.3)"
    assert "magnet Co" in line_of(lines, "layers")
    assert "t = 2.0400 Angstrom" in line_of(lines, "thickness")
    assert line_of(launch(path, "--moment", "Co=1.5"), "order") == "ferromagnetic (moments, mu_B: Co 1.5, Pt2 0.3)"
    path = column(tmp_path / "afm.xyz", ["Pt", "Mn", "Mn"], [2.26, 2.2], [0.0, 4.0, -4.0])
    refused = launch(path, fails=True, capsys=capsys)
    assert refused.startswith("aiida-dmi: moments: antiferromagnetic ones were given (Mn1 +4, Mn2 -4 mu_B)")
    assert line_of(launch(path, "--moment", "Mn=4"), "order") == "ferromagnetic (moments, mu_B: Mn1 4, Mn2 4)"
    assert line_of(launch(path, "--moment", "Mn2=-2"), "order") == "ferrimagnetic (moments, mu_B: Mn1 4, Mn2 -2)"


def test_refused_films_leave_nothing_in_the_database(launch, tmp_path, capsys):
    path = column(tmp_path / "afm.xyz", ["Mn", "Mn", "Pt"], [2.2, 2.26], [4.0, -4.0, 0.0])
    before = orm.QueryBuilder().append(orm.Node).count()
    launch(path, fails=True, capsys=capsys)
    launch(path, "--magnets", "Fe", fails=True, capsys=capsys)
    assert orm.QueryBuilder().append(orm.Node).count() == before


# -- overrides -------------------------------------------------------------------------------------------


def test_the_command_line_goes_before_the_file(launch, tmp_path):
    path = column(tmp_path / "slab.xyz", ["W", "W", "Co", "Pt", "Pt"], [2.2, 2.1, 2.0, 2.26])
    overrides = tmp_path / "overrides.yaml"
    overrides.write_text("film: {substrate: Pt, thickness: 1.5, vacuum: 20.0, kinds: layer}\n")
    lines = launch(path, "--overrides", overrides)
    assert "substrate Pt" in line_of(lines, "layers")
    assert "t = 1.5000 Angstrom (given)" in line_of(lines, "thickness")
    assert line_of(lines, "cell").endswith(f"x {2.2 + 2.1 + 2.0 + 2.26 + 20:.4f} Angstrom")
    lines = launch(path, "--overrides", overrides, "--normal", "up", "--thickness", "2", "--kinds", "element")
    assert "substrate W" in line_of(lines, "layers")
    assert "t = 2.0000 Angstrom (given)" in line_of(lines, "thickness")
    assert line_of(lines, "order") == "ferromagnetic (moments, mu_B: Co 2)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "film.magnet=Co"], "film: magnet is unknown; expected some of magnets, substrate, normal"),
        (["--set", "film=Co"], "film 'Co' was given, expected a mapping"),
        (["--set", "film.kinds=atom"], "kinds: 'atom' was given, expected 'element' or 'layer'"),
        (["--set", "film.moments.Fe=2"], "moments: Fe is no kind of the film, which has Co, Pt"),
        (["--magnets", "co"], "magnets: 'co' was given, expected elements, such as [Co, Fe]"),
        (["--magnets", ""], "magnets: '' was given, expected elements"),
        (["--magnets", "Fe,Co"], "magnets: Fe is not in the film, which has Co, Pt; name elements of it"),
        (["--substrate", "W"], "substrate: 'W' was given, it is on neither side of the magnet"),
        (["--substrate", "Pt", "--normal", "up"], "normal: given beside substrate"),
        (["--normal", "z"], "'z' is not one of 'up', 'down'"),
        (["--thickness", "0"], "'--thickness': '0' was given, expected a positive number"),
        (["--thickness", "nan"], "'--thickness': 'nan' was given"),
        (["--thickness", "thin"], "'thin' is not a valid float"),
        (["--kinds", "atom"], "'atom' is not one of 'element', 'layer'"),
        (["--moment", "Pt.2=1"], "moments: 'Pt.2' is no part of this film"),
    ],
)
def test_choices_that_make_no_sense(launch, arguments, message, capsys):
    assert message in launch("Co/Pt(111):1+1", *arguments, fails=True, capsys=capsys)


# -- films that were there before ------------------------------------------------------------------------


def run_of(structure, record):
    """A workchain that was given a film; nothing of it ran."""
    node = orm.WorkChainNode(process_type="aiida.workflows:dmi.dmi")
    node.base.links.add_incoming(structure, LinkType.INPUT_WORK, "structure")
    node.base.links.add_incoming(record.store(), LinkType.INPUT_WORK, "film")
    return node.store()


def test_a_run_is_launched_again_with_what_was_said_of_its_film(launch, tmp_path):
    """Magnets, t, moments and which way is up belong to the film; and what is said now goes before."""
    path = column(tmp_path / "slab.xyz", ["Pt", "Pt", "Mn", "W", "W"], [2.2, 2.1, 2.0, 2.26])
    atoms = ase.io.read(path)
    said = Choices(magnets=("Mn", "W"), thickness=4.5, normal="down", moments={"Mn": 3.0, "W": -0.5, "Pt": 0.0})
    checked = film_of(orm.StructureData(ase=atoms).store(), said)
    run = run_of(checked.structure, orm.Dict(checked.film.record()))
    lines = launch(run.pk)
    assert "magnet W/Mn" in line_of(lines, "layers")
    assert "t = 4.5000 Angstrom (given)" in line_of(lines, "thickness")
    assert line_of(lines, "order") == "ferrimagnetic (moments, mu_B: Mn 3, W -0.5)"
    assert line_of(lines, "normal") == checked.film.normal
    changed = launch(run.uuid, "--magnets", "Mn", "--thickness", "2", "--moment", "W=0")
    assert "magnet Mn" in line_of(changed, "layers")
    assert "t = 2.0000 Angstrom (given)" in line_of(changed, "thickness")
    assert line_of(changed, "order") == "ferromagnetic (moments, mu_B: Mn 3)"


def test_a_stored_structure_lies_as_it_may(launch, tmp_path):
    """With pbc (T, T, F) and the magnet below, as its file says it: the same film."""
    path = column(tmp_path / "slab.xyz", ["Co", "Co", "Pt"], [1.9, 2.1])
    atoms = ase.io.read(path)
    atoms.pbc = (True, True, False)
    node = orm.StructureData(ase=atoms).store()
    of_file, of_node = launch(path), launch(node.pk)
    for head in ("layers", "normal", "thickness", "order"):
        assert line_of(of_file, head) == line_of(of_node, head)
    assert line_of(of_node, "note").startswith("turned over: the magnet lay below the substrate")


def test_a_models_film(launch, model_file, capsys):
    lines = launch(model_file, "--thickness", "1.9", what="response")
    assert line_of(lines, "normal") == "+z from the substrate to the magnet"
    assert "t = 1.9000 Angstrom (given)" in line_of(lines, "thickness")
    assert "magnet Pt" in line_of(launch(model_file, "--magnets", "Pt", what="response"), "layers")
    refused = launch(model_file, "--normal", "up", what="response", fails=True, capsys=capsys)
    assert "No such option '--normal'" in refused or "No such option: --normal" in refused
    refused = launch(model_file, "--set", "film.normal=up", what="response", fails=True, capsys=capsys)
    assert "normal: given for a finished model, which is not turned any more; leave it out" in refused


def test_layers_of_several_atoms_are_counted(launch, tmp_path):
    atoms = ase.io.read(column(tmp_path / "one.xyz", ["Pt", "Pt", "Co"], [2.26, 2.04])).repeat((2, 1, 1))
    atoms.symbols[-1] = "Mn"
    ase.io.write(tmp_path / "slab.xyz", atoms)
    lines = launch(tmp_path / "slab.xyz")
    assert "2 Pt.2 at 5.00, 2 Pt.1 at 7.26, Co.1 + Mn.1 at 9.30" in line_of(lines, "film")
    assert line_of(lines, "layers").startswith("from the top: Co.1+Mn.1, Pt.1, Pt.2; ")


def test_magnets_named_when_the_film_was_made(codes, pseudo_family, tmp_path):
    """The builder goes by them, and a seed stays one."""
    atoms = ase.io.read(column(tmp_path / "slab.xyz", ["Mn", "Pt", "Pt", "Co"], [2.2, 2.26, 2.04]))
    builder = DmiWorkChain.get_builder_from_protocol(
        codes, film_from_ase(atoms, magnets=["Co"]), overrides={"pseudo_family": pseudo_family.label}
    )
    assert builder.film["magnets"] == ["Co"]
    assert builder.film["substrate"] == ["Mn", "Pt"]
    start = builder.wannier_model.scf.pw.parameters["SYSTEM"]["starting_magnetization"]
    assert [kind for kind, part in start.items() if part] == ["Co"]


def test_the_record_travels_with_the_run(codes, pseudo_family, tmp_path):
    """What the dry run says stands in the inputs of the run."""
    atoms = ase.io.read(column(tmp_path / "slab.xyz", ["Co", "Pt", "Pt"], [2.04, 2.26]))
    builder = DmiWorkChain.get_builder_from_protocol(
        codes,
        orm.StructureData(ase=atoms),
        overrides={"pseudo_family": pseudo_family.label, "response": {"soi_masks": {"interface": ["interface"]}}},
    )
    record = builder.film.get_dict()
    assert record["layer"] == ["Co.1", "Pt.1", "Pt.2"]
    assert record["normal"] == "+z from the substrate to the magnet"
    assert record["decisions"][0] == "turned over: the magnet lay below the substrate"
    assert record["moments_bohr"] == {"Co": 2.0, "Pt": 0.0}
    # Masks and starting moments are of the same film.
    assert builder.response.dmi.parameters["soi_masks"] == {"interface": [1.0, 1.0, 0.0]}
    assert Film.from_record(record, builder.structure).thickness == pytest.approx(2.04)

"""Cutoffs from the family of the pseudopotentials, in what a builder makes and in what is said of it."""

import io
import shutil

import pytest
from aiida import orm
from aiida.plugins import GroupFactory, WorkflowFactory
from aiida_pseudo.data.pseudo.upf import UpfData
from click.testing import CliRunner

from aiida_dmi.cli import cli
from aiida_dmi.cli.pseudopotentials import ensure_pseudo_family
from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.candidates import expand
from aiida_dmi.screening.spec import parse_spec
from aiida_dmi.structures.bilayer import co_pt111, film
from aiida_dmi.structures.doping import dope
from aiida_dmi.workflows.families import recommended

DmiWorkChain = WorkflowFactory("dmi.dmi")


@pytest.fixture(scope="module")
def soft_and_hard(codes, upf_folder, tmp_path_factory):
    """A family whose Ni needs more than its Co, and has its own density cutoff."""
    folder = tmp_path_factory.mktemp("soft-and-hard")
    for element in ("Co", "Ni", "Pt"):
        shutil.copy(upf_folder / f"{element}.UPF", folder)
    family = ensure_pseudo_family("soft/and/hard", folder)
    for stringency, part in (("low", 0.8), ("normal", 1.0), ("high", 1.2)):
        family.set_cutoffs(
            {
                "Co": {"cutoff_wfc": 50 * part, "cutoff_rho": 200 * part},
                "Ni": {"cutoff_wfc": 70 * part, "cutoff_rho": 350 * part},
                "Pt": {"cutoff_wfc": 30 * part, "cutoff_rho": 120 * part},
            },
            stringency,
            unit="Ry",
        )
    yield family.label
    orm.Group.collection.delete(family.pk)


def built(codes, structure, overrides, protocol="fast", **arguments):
    return DmiWorkChain.get_builder_from_protocol(codes, structure, protocol, overrides, **arguments)


def cutoffs(builder, step="scf"):
    """`ecutwfc`, `ecutrho` of a step."""
    ports = builder.wannier_model
    job = ports.relax.base_relax.pw if step == "relax" else ports[step].pw
    return job.parameters["SYSTEM"]["ecutwfc"], job.parameters["SYSTEM"]["ecutrho"]


@pytest.mark.parametrize(
    ("protocol", "system", "relax", "scf", "relaxed"),
    [
        ("fast", {}, {}, (40, 160), (40, 160)),
        ("balanced", {}, {}, (50, 200), (50, 200)),
        ("stringent", {}, {}, (60, 240), (60, 240)),
        # What is given goes before, and the density's follows it in its own step.
        ("balanced", {"ecutwfc": 45}, {}, (45, 180), (45, 180)),
        ("balanced", {"ecutrho": 300}, {}, (50, 300), (50, 300)),
        ("balanced", {"ecutwfc": 45, "ecutrho": 200}, {}, (45, 200), (45, 200)),
        ("balanced", {}, {"ecutwfc": 35}, (50, 200), (35, 140)),
        ("fast", {"ecutwfc": None}, {"ecutwfc": 35, "ecutrho": 150}, (40, 160), (35, 150)),
    ],
)
def test_recommended_unless_given(codes, soft_and_hard, protocol, system, relax, scf, relaxed):
    overrides = {
        "pseudo_family": soft_and_hard,
        "scf": {"parameters": {"SYSTEM": system}},
        "relax": {"parameters": {"SYSTEM": relax}},
    }
    builder = built(codes, co_pt111(1, 1), overrides, protocol)
    assert cutoffs(builder) == pytest.approx(scf)
    assert cutoffs(builder, "relax") == pytest.approx(relaxed)
    # Steps on the scf's density have its Hamiltonian.
    assert cutoffs(builder, "nscf") == cutoffs(builder, "bands") == pytest.approx(scf)


def test_another_stringency_than_the_protocols(codes, soft_and_hard):
    builder = built(codes, co_pt111(1, 1), {"pseudo_family": soft_and_hard, "cutoffs": "high"})
    assert cutoffs(builder) == pytest.approx((60, 240))
    with pytest.raises(InputError, match="cutoffs: 'highest' was given, soft/and/hard has low, normal, high"):
        built(codes, co_pt111(1, 1), {"pseudo_family": soft_and_hard, "cutoffs": "highest"})


@pytest.mark.parametrize("system", [{"ecutrho": 150}, {"ecutwfc": 60, "ecutrho": 200}])
def test_a_density_cutoff_that_is_too_small(codes, soft_and_hard, system):
    overrides = {"pseudo_family": soft_and_hard, "scf": {"parameters": {"SYSTEM": system}}}
    with pytest.raises(InputError, match=r"ecutrho: \d+ was given, expected at least \d+ Ry, 4 times ecutwfc"):
        built(codes, co_pt111(1, 1), overrides)


def test_a_virtual_crystal_needs_what_its_hardest_part_needs(codes, soft_and_hard):
    """By files that were mixed, in the builder and in a campaign alike."""
    doped = dope(co_pt111(1, 1), {"Co.1": ("Ni", 0.1)}, soft_and_hard)
    overrides = {"pseudo_family": soft_and_hard}
    builder = built(codes, doped.structure, overrides, pseudos=doped.pseudos)
    # A family of the mixture is found without its name, too; others of this profile may hold the same files.
    found = built(codes, doped.structure, {}, pseudos=doped.pseudos).wannier_model.cutoffs
    assert found["elements"] == ["Co", "Ni", "Pt"]
    assert found["reference"] is not None
    assert cutoffs(builder) == pytest.approx((56, 280))
    assert builder.wannier_model.cutoffs["elements"] == ["Co", "Ni", "Pt"]
    spec = {"systems": [{"film": "Co/Pt(111):1+1"}], "dopings": [{"vca": {"Co.1": {"Ni": [0.1]}}}]}
    host, mixed = expand(parse_spec({"name": "a", **spec, "overrides": overrides}))
    systems = [candidate.settled[0]["scf"]["parameters"]["SYSTEM"] for candidate in (host, mixed)]
    assert [(s["ecutwfc"], s["ecutrho"]) for s in systems] == [pytest.approx((40, 160)), pytest.approx((56, 280))]


def test_a_family_that_recommends_nothing(codes, upf_folder, tmp_path):
    """Files that nobody knows, in a family that can hold cutoffs and in one that cannot: what sets them."""
    for element in ("Co", "Pt"):
        text = (upf_folder / f"{element}.UPF").read_text()
        (tmp_path / f"{element}.UPF").write_text(text + "\n<!-- own -->\n")
    for kind, command in (
        ("pseudo.family.cutoffs", "`aiida-pseudo family cutoffs set -s normal -u Ry pseudo.family.cutoffs FILE.json`"),
        ("pseudo.family", "`aiida-pseudo install family FOLDER LABEL -F pseudo.family.cutoffs -P pseudo.upf`"),
    ):
        family = GroupFactory(kind).create_from_folder(tmp_path, kind, pseudo_type=UpfData)
        with pytest.raises(InputError, match="recommends no cutoffs") as raised:
            built(codes, co_pt111(1, 1), {"pseudo_family": kind})
        assert command in str(raised.value)
        given = {"pseudo_family": kind, "scf": {"parameters": {"SYSTEM": {"ecutwfc": 55}}}}
        builder = built(codes, co_pt111(1, 1), given)
        assert cutoffs(builder) == (55, 220)
        assert builder.wannier_model.cutoffs["words"] == f"55 and 220 Ry, given; {kind} recommends none"
        assert builder.wannier_model.cutoffs["reference"] is None
        if kind == "pseudo.family.cutoffs":
            values = {name: {"cutoff_wfc": 700.0, "cutoff_rho": 2800.0} for name in ("Co", "Pt")}
            family.set_cutoffs(values, "high", unit="eV")
            # It has not the one that is asked for: the next higher one.
            assert cutoffs(built(codes, co_pt111(1, 1), {"pseudo_family": kind})) == pytest.approx(
                (700 / 13.605693, 2800 / 13.605693)
            )
        orm.Group.collection.delete(family.pk)


def test_pseudopotentials_one_by_one(codes, pseudo_family, upf_folder):
    """Of one family they have its cutoffs; of none, an explicit one."""
    pseudos = {kind: pseudo_family.get_pseudo(kind) for kind in ("Co", "Pt")}
    builder = built(codes, co_pt111(1, 1), {"pseudo_family": pseudo_family.label}, pseudos=pseudos)
    assert cutoffs(builder) == recommended(pseudo_family, ["Co", "Pt"])["low"]
    own = (upf_folder / "Pt.UPF").read_bytes() + b"\n<!-- mine -->\n"
    pseudos["Pt"] = UpfData(io.BytesIO(own), filename="Pt.own.UPF")
    with pytest.raises(InputError, match="pseudos: of no common family"):
        built(codes, co_pt111(1, 1), {}, pseudos=pseudos)
    given = {"scf": {"parameters": {"SYSTEM": {"ecutwfc": 60}}}}
    assert cutoffs(built(codes, co_pt111(1, 1), given, pseudos=pseudos)) == (60, 240)


def test_what_is_decided_is_recorded(codes, soft_and_hard):
    builder = built(codes, co_pt111(1, 1), {"pseudo_family": soft_and_hard})
    assert builder.origin["pseudo_family"] == soft_and_hard
    assert builder.origin["cutoffs"] == "40 and 160 Ry: low of soft/and/hard, Co needs most"
    record = builder.wannier_model.cutoffs.get_dict()
    assert (record["family"], record["stringency"], record["reference"]) == (soft_and_hard, "low", 50)
    assert record["recommended"]["high"] == pytest.approx([60, 240])


def test_the_dry_run_says_where_the_cutoff_comes_from(aiida_profile, soft_and_hard):
    def said(*words):
        command = ["launch", "model", "Ni/Pt(111):1+1", "--family", soft_and_hard, "--dry-run", *words]
        result = CliRunner().invoke(cli, ["-p", aiida_profile.name, *command])
        assert result.exit_code == 0, result.output
        return result.output

    assert "cutoffs    56 and 280 Ry: low of soft/and/hard, Ni needs most\n" in said()
    low = said("--set", "scf.parameters.SYSTEM.ecutwfc=40", "--protocol", "balanced")
    assert "cutoffs    40 and 160 Ry, given; soft/and/hard recommends 70 Ry (normal)\n" in low
    assert "warning    that is 0.57 of the recommended cutoff; the quality gate asks for 1 (quality.basis)\n" in low


def test_keys_of_a_campaign_hold_family_and_cutoffs(codes, soft_and_hard, pseudo_family):
    """The same number given and recommended is the same film; another family, or another stringency, is not."""

    def key(**overrides):
        spec = {"name": "a", "systems": [{"film": "Co/Pt(111):1+1"}], "overrides": overrides}
        return expand(parse_spec(spec))[0].key

    plain = key(pseudo_family=soft_and_hard)
    assert plain == key(pseudo_family=soft_and_hard, scf={"parameters": {"SYSTEM": {"ecutwfc": 40.0}}})
    others = [key(pseudo_family=pseudo_family.label), key(pseudo_family=soft_and_hard, cutoffs="normal"), key()]
    assert plain not in others
    assert key(pseudo_family="not there") not in (plain, *others)


def test_the_official_set(codes, official_folder):
    """The fault that this mends: 50 Ry, whatever the family."""
    family = ensure_pseudo_family(source=official_folder)
    found = {
        protocol: cutoffs(built(codes, film(name), {"pseudo_family": family.label}, protocol))
        for protocol, name in (
            ("fast", "Co/Pt(111):1+1"),
            ("balanced", "Fe/W(110):1+1"),
            ("stringent", "Fe/Ir(111):1+2"),
        )
    }
    assert found == {"fast": (84, 336), "balanced": (90, 360), "stringent": (106, 424)}
    given = {"pseudo_family": family.label, "scf": {"parameters": {"SYSTEM": {"ecutwfc": 50}}}}
    ports = built(codes, co_pt111(1, 1), given).wannier_model
    assert 50 / ports.cutoffs["reference"] < ports.quality["basis"]
    orm.Group.collection.delete(family.pk)

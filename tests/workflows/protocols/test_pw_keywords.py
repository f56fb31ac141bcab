"""Keywords of pw.x: known ones in their namelist, of their type, in their range; and those that are not the user's."""

import math

import pytest

from aiida_dmi.workflows.protocols import pw_keywords
from aiida_dmi.workflows.protocols.pw_keywords import checked, known, normalised
from aiida_dmi.workflows.protocols.strict import PlacedError
from aiida_dmi.workflows.protocols.utils import read_protocols


def refusal(parameters, step="scf", calculation="scf", unchecked=()):
    with pytest.raises(PlacedError) as caught:
        checked(parameters, step, calculation, unchecked)
    return ".".join(map(str, caught.value.place)) + caught.value.words


def test_every_keyword_that_is_named_is_one_of_pw():
    """A slip in the lists would let a keyword through."""
    everywhere = {keyword for keywords in known().values() for keyword in keywords}
    for listed in (pw_keywords.OWNED, pw_keywords.FIXED, pw_keywords.NOT_HERE, pw_keywords.NEWER, pw_keywords.RANGES):
        assert set(listed) <= everywhere


def test_protocol_file_has_known_keywords():
    content = read_protocols()
    sections = [
        *content["default_inputs"].values(),
        *content["protocols"].values(),
        content["default_inputs"]["tall_cells"],
    ]
    sections += [part for section in content["protocols"].values() for part in section.values()]
    namelists = [s["parameters"] for s in sections if isinstance(s, dict) and "parameters" in s and "retries" not in s]
    assert len(namelists) > 5
    for parameters in namelists:
        for namelist, keywords in parameters.items():
            assert set(keywords) <= set(known()[namelist])


def test_keywords_of_newer_releases_are_known():
    """Beyond what aiida-quantumespresso describes: Quantum ESPRESSO 7."""
    assert {"diago_rmm_ndim", "diago_gs_nblock"} <= set(known()["ELECTRONS"])
    assert checked({"ELECTRONS": {"diago_rmm_ndim": 4, "diagonalization": "rmm-davidson"}}, "scf", "scf")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        # Unknown, or in the wrong place.
        ({"SYSTEM": {"ecutwcf": 90.0}}, "SYSTEM.ecutwcf is no keyword of pw.x's SYSTEM; did you mean ecutwfc?"),
        ({"SYSTEM": {"quux": 1}}, "one of a newer pw.x has to stand in `unchecked_keywords` too"),
        ({"SYSTEM": {"celldm(1)": 5.0}}, "SYSTEM.celldm(1) is no keyword"),
        (
            {"SYSTEM": {"mixing_beta": 0.4}},
            "SYSTEM.mixing_beta is no keyword of SYSTEM (mixing_beta belongs to ELECTRONS)",
        ),
        (
            {"ecutwfc": 90.0},
            "ecutwfc is unknown; expected one of CONTROL, SYSTEM, ELECTRONS (ecutwfc belongs to SYSTEM)",
        ),
        ({"SYSTEMS": {}}, "SYSTEMS is unknown"),
        ({"IONS": {}}, "IONS is no namelist of this step"),
        ({"CELL": {"cell_dofree": "xy"}}, "CELL is no namelist of this step"),
        ({"SYSTEM": 3}, "SYSTEM: 3 was given, expected a mapping of pw.x's keywords"),
        ({1: {}}, "1 was given, expected the name of a namelist"),
        ({"SYSTEM": {1: 2}}, "SYSTEM.1 was given, expected a keyword of pw.x"),
        ({"SYSTEM": {"ecutwfc": 60.0, "ECUTWFC": 90.0}}, "is given twice, in upper and in lower case"),
        # Decided by the workflow.
        ({"SYSTEM": {"nat": 3}}, "SYSTEM.nat cannot be given: cell and atoms are those of the film"),
        ({"SYSTEM": {"ntyp": 2}}, "cell and atoms are those of the film"),
        ({"SYSTEM": {"ibrav": 4}}, "cell and atoms are those of the film"),
        ({"CONTROL": {"outdir": "/tmp"}}, "CONTROL.outdir cannot be given: files are placed by AiiDA"),
        ({"CONTROL": {"prefix": "x"}}, "files are placed by AiiDA"),
        ({"CONTROL": {"pseudo_dir": "x"}}, "files are placed by AiiDA"),
        ({"CONTROL": {"calculation": "relax"}}, "'relax' was given, expected 'scf' or nothing"),
        ({"CONTROL": {"restart_mode": "restart"}}, "the workflow decides where a job starts from"),
        ({"CONTROL": {"lberry": True}}, "the run computes a density and its bands"),
        ({"CONTROL": {"disk_io": "none"}}, "'none' was given, but later steps read density and wave functions"),
        ({"CONTROL": {"disk_io": "nowf"}}, "later steps read density and wave functions"),
        ({"SYSTEM": {"nspin": 1}}, "1 was given, expected 2 or nothing: the run is collinear"),
        ({"SYSTEM": {"nspin": "2"}}, "'2' was given, expected 2 or nothing"),
        ({"SYSTEM": {"lspinorb": True}}, "True was given, expected false or nothing"),
        ({"SYSTEM": {"noncolin": 0}}, "0 was given, expected false or nothing"),
        ({"SYSTEM": {"occupations": "fixed"}}, "'fixed' was given, expected 'smearing' or nothing"),
        ({"SYSTEM": {"tot_magnetization": 2.0}}, "it makes two Fermi levels, the theory here has one"),
        ({"SYSTEM": {"starting_magnetization": {"Co": 0.3}}}, "on the command line --moment NAME=MU_B"),
        ({"SYSTEM": {"input_dft": "PBE0"}}, "bands of a hybrid functional do not follow from a density"),
        ({"ELECTRONS": {"startingpot": "file"}}, "the workflow decides where a job starts from"),
        ({"ELECTRONS": {"startingwfc": "file"}}, "the workflow decides where a job starts from"),
        ({"ELECTRONS": {"scf_must_converge": False}}, "everything after it rests on the density"),
        # Types.
        ({"SYSTEM": {"degauss": "1e-2"}}, "SYSTEM.degauss: '1e-2' was given, expected a number"),
        ({"SYSTEM": {"ecutwfc": True}}, "True was given, expected a number"),
        ({"SYSTEM": {"ecutwfc": math.nan}}, "nan was given, expected a number"),
        ({"SYSTEM": {"nosym": "n"}}, "'n' was given, expected true or false"),
        ({"SYSTEM": {"nosym": 1}}, "1 was given, expected true or false"),
        ({"SYSTEM": {"nbnd": 40.0}}, "40.0 was given, expected an integer above 0"),
        ({"SYSTEM": {"smearing": 3}}, "3 was given, expected text without quotes"),
        ({"SYSTEM": {"hubbard_u": 3.0}}, "3.0 was given, expected a number for each kind, as {Co: 1.0}"),
        ({"SYSTEM": {"hubbard_u": {"Co": "3"}}}, "expected a number for each kind"),
        ({"SYSTEM": {"fixed_magnetization": 1.0}}, "1.0 was given, expected a list"),
        ({"CONTROL": {"title": "a'\n/\n&SYSTEM"}}, "expected text without quotes"),
        ({"CONTROL": {"trism": True}}, "cannot be given"),
        ({"ELECTRONS": {"diago_rmm_ndim": {"a": "it's"}}}, "expected numbers, true, false or text without quotes"),
        # Ranges and words.
        ({"SYSTEM": {"degauss": -0.01}}, "-0.01 was given, expected a number above 0 and at most 0.5 (Ry)"),
        ({"SYSTEM": {"degauss": 0}}, "0 was given, expected a number above 0 and at"),
        ({"SYSTEM": {"degauss": 20}}, "20 was given, expected a number above 0 and at"),
        ({"SYSTEM": {"ecutwfc": 0.0}}, "0.0 was given, expected a number above 0 and at most 1000"),
        ({"ELECTRONS": {"mixing_beta": 1.5}}, "1.5 was given, expected a number above 0 and at most 1"),
        ({"ELECTRONS": {"electron_maxstep": 0}}, "0 was given, expected an integer above 0"),
        ({"ELECTRONS": {"conv_thr": -1e-8}}, "expected a number above 0"),
        ({"SYSTEM": {"smearing": "colds"}}, "fermi-dirac, f-d, fd; did you mean cold?"),
        ({"ELECTRONS": {"mixing_mode": "local"}}, "expected one of plain, TF, local-TF"),
        ({"SYSTEM": {"vdw_corr": "d3"}}, "'d3' was given, expected one of grimme-d2"),
    ],
)
def test_refused(parameters, message):
    assert message in refusal(parameters)


@pytest.mark.parametrize("step", ["nscf", "bands", "spin_orbit_bands"])
def test_later_steps_have_the_density_of_the_scf(step):
    """Another cutoff or smearing there would be the bands of another Hamiltonian."""
    for system in ({"ecutwfc": 60.0}, {"degauss": 0.01}, {"nbnd": 40}):
        assert "this step's SYSTEM is the scf's: give it in scf.parameters" in refusal({"SYSTEM": system}, step, "nscf")
    assert "bands_per_function" in refusal({"SYSTEM": {"nbnd": 40}}, step, "nscf")
    assert checked({"ELECTRONS": {"diago_full_acc": True}}, step, "nscf")


def test_relaxation():
    relaxed = {"CONTROL": {"forc_conv_thr": 1e-4}, "SYSTEM": {"ecutwfc": 30.0}, "IONS": {"ion_dynamics": "damp"}}
    assert checked(relaxed, "relax", "relax") == relaxed
    assert "expected 'relax' or nothing" in refusal({"CONTROL": {"calculation": "vc-relax"}}, "relax", "relax")
    assert "not moved in time" in refusal({"IONS": {"ion_dynamics": "verlet"}}, "relax", "relax")
    assert "did you mean bfgs?" in refusal({"IONS": {"ion_dynamics": "bfg"}}, "relax", "relax")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"system": {"ECUTWFC": 90}}, {"SYSTEM": {"ecutwfc": 90}}),
        ({"system": {"ecutwfc": 90}, "SYSTEM": {"degauss": 0.01}}, {"SYSTEM": {"ecutwfc": 90, "degauss": 0.01}}),
        ({"SYSTEM": {"smearing": "Cold"}}, {"SYSTEM": {"smearing": "cold"}}),
        ({"SYSTEM": {"assume_isolated": "2d"}}, {"SYSTEM": {"assume_isolated": "2D"}}),
        ({"ELECTRONS": {"mixing_mode": "local-tf"}}, {"ELECTRONS": {"mixing_mode": "local-TF"}}),
        ({"SYSTEM": {"nspin": 2, "occupations": "smearing"}}, {"SYSTEM": {"nspin": 2, "occupations": "smearing"}}),
        ({"SYSTEM": {"hubbard_u": {"Co": 3}}}, {"SYSTEM": {"hubbard_u": {"Co": 3}}}),
        ({"SYSTEM": {"degauss": None}}, {"SYSTEM": {"degauss": None}}),
        ({"CONTROL": {"disk_io": "medium"}}, {"CONTROL": {"disk_io": "medium"}}),
        ({}, {}),
    ],
)
def test_taken(given, found):
    assert checked(given, "scf", "scf") == found


def test_unchecked():
    """What this package does not know yet; nothing gets out of its line of the namelist."""
    assert checked({"SYSTEM": {"newest": 3}}, "scf", "scf", ["newest"]) == {"SYSTEM": {"newest": 3}}
    assert checked({"SYSTEM": {"smearing": "newest"}}, "scf", "scf", ["Smearing"])
    for value in ("a'", "a\n/", object(), [["x", "'"]]):
        assert "text without quotes" in refusal({"SYSTEM": {"newest": value}}, unchecked=["newest"])


@pytest.mark.parametrize(
    "parameters", [{"SYSTEM": {"nat": 3}}, {"SYSTEM": {"nspin": 1}}, {"CONTROL": {"calculation": "relax"}}]
)
def test_unchecked_is_no_way_around(parameters):
    """What the workflow decides stays its own."""
    ((_, keywords),) = parameters.items()
    assert refusal(parameters, unchecked=list(keywords))


def test_normalising_loses_nothing():
    given = {"system": {"ecutwfc": 1}, "Control": {"Title": "x"}, "SYSTEM": {"degauss": 2}}
    assert normalised(given) == {"SYSTEM": {"ecutwfc": 1, "degauss": 2}, "CONTROL": {"title": "x"}}

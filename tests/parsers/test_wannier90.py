"""Parser of ``dmi.wannier90`` on outputs of wannier90.x 3.1.0, whole, cut off and damaged."""

import random

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType

from aiida_dmi.parsers.wannier90 import Wannier90Parser, find_error, parse_bands, parse_wout

# Excerpt of a real file.
GOOD = """\
             |      Release: 3.1.0        5th March    2020      |
 *---------------------------------- MAIN ------------------------------------*
 |  Number of Wannier Functions               :                 2             |
 |  Number of Objective Wannier Functions     :                 2             |
 |  Number of input Bloch states              :                 3             |
 |  Output verbosity (1=low, 5=high)          :                 1             |
 |  Length Unit                               :               Ang             |
 |  Post-processing setup (write *.nnkp)      :                 F             |
 *----------------------------------------------------------------------------*
 *------------------------------- WANNIERISE ---------------------------------*
 |  Total number of iterations                :                 0             |
 |  Convergence tolerence                     :         0.100E-09             |
 |  Write r^2_nm to file                      :                 F             |
 |  Write xyz WF centres to file              :                 T             |
 *----------------------------------------------------------------------------*
 *------------------------------- DISENTANGLE --------------------------------*
 |  Convergence tolerence                     :         0.100E-04             |
 *----------------------------------------------------------------------------*
 | Completeness relation is fully satisfied [Eq. (B1), PRB 56, 12847 (1997)]  |
                  <<< Warning: Maximum number of disentanglement iterations reached >>>
 ------------------------------------------------------------------------------
 Initial State
  WF centre and spread    1  (  0.300000,  0.200000,  0.400000 )     1.02119810
  WF centre and spread    2  (  1.700000,  1.600000,  1.000000 )     1.73954360
  Sum of centres and spreads (  2.000000,  1.800000,  1.400000 )     2.76074170
 ------------------------------------------------------------------------------
 Final State
  WF centre and spread    1  (  0.300000,  0.200000,  0.400000 )     1.02119810
  WF centre and spread    2  (  1.700000,  1.600000, -1.000000 )     1.73954359
  Sum of centres and spreads (  2.000000,  1.800000, -0.600000 )     2.76074168

         Spreads (Ang^2)       Omega I      =     2.760741680
        ================       Omega D      =     0.000000001
                               Omega OD     =     0.000000001
    Final Spread (Ang^2)       Omega Total  =     2.760741682
 ------------------------------------------------------------------------------
      Wannier Function Num:    1       Maximum Im/Re Ratio =    0.000003
      Wannier Function Num:    2       Maximum Im/Re Ratio =    0.000001
 |kmesh: get                                        :         1         0.011|

 All done: wannier90 exiting
"""
UNFINISHED = GOOD[: GOOD.index(" Final State")]
NNKP = GOOD[: GOOD.index(" | Completeness")] + " Exiting... aiida.nnkp written.\n"
NO_RESULTS = GOOD.splitlines()[0] + "\n"

BAND = """\
  0.00000000E+00 -0.30000000E+01
  0.10471976E+00 -0.20000000E+01
  0.20943951E+00 -0.10000000E+01

  0.00000000E+00  0.10000000E+01
  0.10471976E+00  0.20000000E+01
  0.20943951E+00  0.30000000E+01

"""
KPT = """\
           3
    0.000000    0.000000    0.000000   1.0
    0.250000    0.000000    0.000000   1.0
    0.500000    0.000000    0.000000   1.0
"""
LABELS = """\
GAMMA                           1         0.0000000000      0.0000000000      0.0000000000      0.0000000000
X                               3         0.2094395100      0.5000000000      0.0000000000      0.0000000000
"""
BANDS = {"aiida_band.dat": BAND, "aiida_band.kpt": KPT, "aiida_band.labelinfo.dat": LABELS}


@pytest.fixture
def parse(aiida_profile, aiida_localhost):
    """Return a function that parses files as if a calculation had retrieved them."""

    def function(files, temporary_folder=None, scheduler_status=None):
        structure = orm.StructureData(cell=[[3, 0, 0], [0, 3, 0], [0, 0, 10]], pbc=(True, True, False))
        structure.append_atom(position=(0, 0, 0), symbols="Co")
        node = orm.CalcJobNode(computer=aiida_localhost, process_type="aiida.calculations:dmi.wannier90")
        node.set_options({"input_filename": "aiida.win", "resources": {"num_machines": 1}})
        if scheduler_status is not None:
            node.set_exit_status(scheduler_status)
        node.base.links.add_incoming(structure.store(), LinkType.INPUT_CALC, "structure")
        node.store()
        retrieved = orm.FolderData()
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            retrieved.base.repository.put_object_from_bytes(data, name)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, "retrieved")
        retrieved.store()
        return Wannier90Parser.parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=temporary_folder
        )

    return function


def test_good(parse):
    results, node = parse({"aiida.wout": GOOD, **BANDS})
    assert node.exit_status == 0
    assert results["output_parameters"].get_dict() == {
        "number_wfs": 2,
        "length_units": "Ang",
        "output_verbosity": 1,
        "preprocess_only": "F",
        "convergence_tolerance": 1e-10,
        "r2mn_writeout": "F",
        "xyz_writeout": "T",
        "wannier_functions_initial": [
            {"wf_ids": 1, "wf_centres": [0.3, 0.2, 0.4], "wf_spreads": 1.0211981},
            {"wf_ids": 2, "wf_centres": [1.7, 1.6, 1.0], "wf_spreads": 1.7395436},
        ],
        "wannier_functions_output": [
            {"wf_ids": 1, "wf_centres": [0.3, 0.2, 0.4], "wf_spreads": 1.0211981, "im_re_ratio": 3e-6},
            {"wf_ids": 2, "wf_centres": [1.7, 1.6, -1.0], "wf_spreads": 1.73954359, "im_re_ratio": 1e-6},
        ],
        "Omega_I": 2.76074168,
        "Omega_D": 1e-9,
        "Omega_OD": 1e-9,
        "Omega_total": 2.760741682,
        "warnings": [
            "<<< Warning: Maximum number of disentanglement iterations reached >>>",
            "Wannierisation finished because num_iter was reached.",
        ],
    }
    bands = results["interpolated_bands"]
    assert bands.units == "eV"
    assert bands.labels == [(0, "GAMMA"), (2, "X")]
    np.testing.assert_array_equal(bands.get_bands(), [[-3, 1], [-2, 2], [-1, 3]])
    np.testing.assert_array_equal(bands.get_kpoints()[:, 0], [0, 0.25, 0.5])


def test_postproc_setup(parse, tmp_path):
    (tmp_path / "aiida.nnkp").write_text("begin nnkpts\nend nnkpts\n")
    results, node = parse({"aiida.wout": NNKP}, temporary_folder=str(tmp_path))
    assert node.exit_status == 0
    assert results["nnkp_file"].get_content() == "begin nnkpts\nend nnkpts\n"
    assert results["output_parameters"]["warnings"] == []


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({}, 210),
        ({"aiida.werr": " Exiting.......\n Unrecognised keyword(s)\n"}, 300),
        ({"aiida.wout": GOOD, "aiida.werr": ""}, 300),
        ({"aiida.wout": GOOD, "aiida.node_00001.werr": "Error"}, 300),
        ({"aiida.wout": UNFINISHED, "aiida.werr": ""}, 300),
        ({"aiida.wout": UNFINISHED + " Exiting.......\n param_read: something\n"}, 400),
        ({"aiida.wout": UNFINISHED + " Exiting.......\n param_read: something\n", "aiida.werr": ""}, 400),
        ({"aiida.wout": UNFINISHED + " Unable to satisfy B1 with any of the first 12 shells\n Exiting.......\n"}, 401),
        ({"aiida.wout": UNFINISHED + " Exiting.......\n kmesh_get_bvector: Not enough bvectors found\n"}, 401),
        (
            {
                "aiida.wout": UNFINISHED + " Exiting.......\n kmesh_get: something wrong, "
                "found too many nearest neighbours\n"
            },
            401,
        ),
        (
            {
                "aiida.wout": UNFINISHED + " Exiting.......\n dis_windows: "
                "Energy window contains fewer states than number of target WFs\n"
            },
            402,
        ),
        ({"aiida.wout": UNFINISHED + " Error plotting WF cube. Try one of the following:\n"}, 403),
        ({"aiida.wout": UNFINISHED}, 404),
        ({"aiida.wout": NO_RESULTS}, 404),
        ({"aiida.wout": ""}, 404),
        ({"aiida.wout": b"\xff\x00\xfe | Number of Wannier Functions : ******** |\n"}, 404),
        # Only the last line counts, and only with the seed of this run.
        ({"aiida.wout": GOOD + UNFINISHED}, 404),
        ({"aiida.wout": NNKP.replace("aiida", "other")}, 404),
    ],
)
def test_failure(parse, files, status):
    _, node = parse(files)
    assert node.exit_status == status


def test_no_retrieved_folder(aiida_profile, aiida_localhost):
    # The engine stops before it calls the parser, so the parser is called alone.
    node = orm.CalcJobNode(computer=aiida_localhost, process_type="aiida.calculations:dmi.wannier90").store()
    assert Wannier90Parser(node).parse().status == 200


def test_failure_keeps_what_was_read(parse):
    results, node = parse({"aiida.wout": UNFINISHED, **BANDS})
    assert node.exit_status == 404
    assert [f["wf_ids"] for f in results["output_parameters"]["wannier_functions_initial"]] == [1, 2]
    assert "interpolated_bands" not in results


@pytest.mark.parametrize(("content", "status"), [(GOOD, 0), (UNFINISHED, 404)])
def test_scheduler_is_not_asked(parse, content, status):
    """A run that the scheduler says was out of time (120) is judged by its output."""
    assert parse({"aiida.wout": content}, scheduler_status=120)[1].exit_status == status


def test_numbers_that_do_not_fit_their_column(parse):
    content = GOOD.replace(
        "(  1.700000,  1.600000, -1.000000 )     1.73954359", "(**********,  1.600000, NaN )  **********"
    )
    content = content.replace("=     2.760741682", "=  **************").replace("=    0.000003", "=    Infinity")
    results, node = parse({"aiida.wout": content})
    assert node.exit_status == 0
    parameters = results["output_parameters"].get_dict()
    assert parameters["wannier_functions_output"][0]["im_re_ratio"] is None
    assert parameters["wannier_functions_output"][1]["wf_centres"] == [None, 1.6, None]
    assert parameters["wannier_functions_output"][1]["wf_spreads"] is None
    assert parameters["Omega_total"] is None
    assert "centres or spreads of functions [2] are not numbers" in parameters["warnings"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("aiida_band.dat", BAND[:40]),
        ("aiida_band.dat", BAND.replace("0.30000000E+01", "**************")),
        ("aiida_band.dat", BAND.replace("0.30000000E+01", "NaN")),
        ("aiida_band.dat", ""),
        ("aiida_band.kpt", ""),
        ("aiida_band.kpt", KPT[:60]),
        ("aiida_band.labelinfo.dat", "GAMMA"),
        ("aiida_band.labelinfo.dat", LABELS.replace("  3  ", "  4  ")),
    ],
)
def test_damaged_bands(parse, name, content):
    results, node = parse({"aiida.wout": GOOD, **BANDS, name: content})
    assert node.exit_status == 0
    assert "interpolated_bands" not in results
    assert results["output_parameters"]["warnings"][-1].startswith("interpolated bands could not be read: ")


def test_two_labels_of_one_point():
    _, _, labels = parse_bands(BAND.splitlines(), KPT.splitlines(), (LABELS + LABELS.replace("X ", "Y ")).splitlines())
    assert labels == [(0, "GAMMA"), (2, "Y")]


def test_restart_for_plots():
    """A restart prints no final state: the ratios come alone, and there is nothing to say about convergence."""
    lines = [line for line in GOOD.splitlines() if "WF centre" not in line and "State" not in line]
    out = parse_wout(lines)
    assert out["wannier_functions_output"] == [{"wf_ids": 1, "im_re_ratio": 3e-6}, {"wf_ids": 2, "im_re_ratio": 1e-6}]
    assert not any("num_iter" in warning for warning in out["warnings"])


def test_convergence_and_units():
    text = GOOD.replace(" Final State", " <<<  Wannierisation convergence criteria satisfied  >>>\n Final State")
    warnings = parse_wout(text.replace(" Ang ", " Bohr").splitlines())["warnings"]
    assert "lengths are in Bohr, not in Ang" in warnings
    assert not any("num_iter" in warning for warning in warnings)


def test_any_truncation_is_incomplete():
    # The last character is the newline, without which the file is still whole.
    for end in range(len(GOOD) - 1):
        lines = GOOD[:end].splitlines()
        assert find_error(lines, "aiida") == "ERROR_OUTPUT_STDOUT_INCOMPLETE"
        assert isinstance(parse_wout(lines)["warnings"], list)


def test_any_damage_is_read():
    rng = random.Random(1)
    for _ in range(2000):
        text = list(GOOD)
        for position in rng.sample(range(len(text)), 40):
            text[position] = rng.choice("*():=,|-.E9 \n")
        out = orm.Dict(parse_wout("".join(text).splitlines()))
        assert "warnings" in out.get_dict()

"""The table of values and the quality gate."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from aiida import orm

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import with_error
from aiida_dmi.report.export import sweep_csv
from aiida_dmi.report.summary import as_text, gate_lines, gates, summary_of, value_rows


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (12.29637, 0.0543, "12.296 +- 0.054"),
        (12.29637, 5.43, "12.3 +- 5.4"),
        (12.29637, 54.3, "12 +- 54"),
        (-0.5, 0.0, "-0.5 +- 0"),
        (1.23456789, math.nan, "1.2346 (not resolved)"),
    ],
)
def test_as_many_digits_as_the_error_gives_meaning_to(value, error, text):
    assert with_error(value, error) == text


def entry(value, limit, passed=True):
    return {"value": value, "limit": limit, "unit": "1", "meaning": "m", "passed": passed}


def test_colours_of_the_gate():
    quality = {
        "model": {
            "bands": entry(30.0, 60.0),
            "spread": entry(11.0, 12.0),
            "moment": entry(0.5, 0.3, passed=False),
            "spin_orbit_bands": entry(None, 100.0),
            "spin_overlap": entry(0.998, 0.9),
            "states": entry(0.055, 0.05),
        },
        "response": {"closure": entry(0.01, None)},
    }
    colours = {gate.name: gate.colour for gate in gates(quality)}
    assert colours == {
        "bands": "green",
        "spread": "amber",
        "moment": "red",
        "spin_orbit_bands": "grey",
        "spin_overlap": "green",
        "states": "amber",
        "closure": "grey",
    }
    verdicts = {gate.name: gate.verdict for gate in gates(quality)}
    assert verdicts["spin_orbit_bands"] == "not measured"
    assert verdicts["closure"] == "not judged"


def test_where_the_largest_error_lies_is_said():
    at = {"kpoint": [1 / 3, 1 / 3, 0.0], "point": "corner", "spin": "down", "band": 7, "energy_ev": -2.314}
    lines = gate_lines({"model": {"bands": entry(4.0, 10.0), "bands_largest": {**entry(21.0, None), "at": at}}})
    assert lines[-1] == "bands_largest at k = (0.3333, 0.3333), corner; spin down, band 7, 2.31 eV below E_F"


def test_an_overlap_near_its_limit_is_amber():
    (gate,) = gates({"model": {"spin_overlap": entry(0.91, 0.9)}})
    assert gate.colour == "amber"


def test_summary_of_a_run_is_its_output(finished):
    assert summary_of(finished) == finished.outputs.output_parameters.get_dict()


def test_summary_of_a_response_leaves_nothing_in_the_database(finished):
    before = orm.QueryBuilder().append(orm.Node).count()
    summary = summary_of(finished.outputs.response, thickness=4.0)
    assert orm.QueryBuilder().append(orm.Node).count() == before
    at_two = summary_of(finished)["values"]["D_yx"]
    assert summary["values"]["D_yx"]["mJ_per_m2"] == pytest.approx(at_two["mJ_per_m2"] / 2)
    assert summary["values"]["D_yx"]["pJ_per_m"] == pytest.approx(at_two["pJ_per_m"])


def test_text_has_values_conditions_and_gate(finished):
    text = as_text(finished)
    d = finished.outputs.output_parameters["values"]["D_yx"]
    assert with_error(d["meV_angstrom"], d["meV_angstrom_error"]) in text
    for words in (
        "pJ/m",
        "mJ/m^2",
        "1500 K",
        "6x6; errors: from the decay of",
        "response: closure",
        finished.uuid,
    ):
        assert words in text


def test_a_node_without_a_response_is_refused(finished):
    with pytest.raises(InputError, match=r"WannierModelData was given, expected a finished DmiWorkChain"):
        summary_of(finished.inputs.model)
    with pytest.raises(InputError, match=r"thickness: -1\.0 was given, expected a positive"):
        summary_of(finished, -1.0)


def test_what_values_were_before_stands_in_the_last_column(finished):
    summary = summary_of(finished)
    assert "Wannier functions alone" not in value_rows(summary)[0]
    before = {"D_yx": {"meV_angstrom": 12.5, "meV_angstrom_error": 0.5}}
    headings, rows = value_rows({**summary, "values_wannier": before})
    assert headings[-1] == "Wannier functions alone"
    assert {row[0]: row[-1] for row in rows}["D_yx"] == "12.50 +- 0.50"
    assert {len(row) for row in rows} == {len(headings)}
    assert value_rows({**summary, "values_wannier": before}, alone=False) == value_rows(summary)


def test_a_corrected_sweep_has_both(finished):
    result = finished.outputs.response.dataset
    text = sweep_csv(result.assign(D_wannier=result.D - 1.0, D_wannier_error=result.D_error))
    table = pd.read_csv(io.StringIO("\n".join(line for line in text.splitlines() if not line.startswith("#"))))
    unit = "(meV angstrom per cell)"
    np.testing.assert_allclose(table[f"D_wannier {unit}"], table[f"D {unit}"] - 1.0)

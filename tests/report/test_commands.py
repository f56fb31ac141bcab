"""aiida-dmi show, plot, report, export, model; verdi data dmi.response."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

from aiida_dmi.cli import cli
from aiida_dmi.cli.verdi import response as verdi_response


@pytest.fixture
def run(tmp_path, monkeypatch, finished):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, command=cli):
        return CliRunner().invoke(command, [str(argument) for argument in arguments])

    return invoke


def said(outcome) -> str:
    """What main() would print of an error; 0 exit codes have none."""
    return str(outcome.exception) if isinstance(outcome.exception, ValueError) else outcome.output


@pytest.mark.parametrize("command", ["show", "plot", "report", "export", "model"])
def test_help_has_an_example(run, command):
    names = [command, "inspect", "--help"] if command == "model" else [command, "--help"]
    outcome = run(*names)
    assert outcome.exit_code == 0
    assert f"aiida-dmi {' '.join(names[:-1])} 1234" in outcome.output


def test_show_prints_the_table_by_pk_and_by_uuid(run, finished):
    by_pk, by_uuid = run("show", finished.pk), run("show", finished.uuid)
    assert by_pk.exit_code == 0
    assert by_pk.output == by_uuid.output
    assert "D_yx" in by_pk.output


def test_show_json_is_the_output(run, finished):
    content = json.loads(run("show", finished.pk, "--format", "json").output)
    assert content["values"] == finished.outputs.output_parameters["values"]
    assert content["quality"]["response"]["closure"]["unit"] == "1"


def test_show_says_what_a_wrong_node_is(run, finished):
    outcome = run("show", finished.inputs.model.pk)
    assert outcome.exit_code != 0
    assert "WannierModelData was given, expected a finished DmiWorkChain" in said(outcome)


def test_plot_writes_pictures_and_numbers(run, finished, tmp_path):
    outcome = run("plot", finished.pk, "-w", "spin-orbit", "-w", "k-map", "--mesh", 4, "-f", "svg", "-f", "pdf")
    assert outcome.exit_code == 0, outcome.output
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{name}-{finished.pk}.{s}" for name in ("spin-orbit", "k-map") for s in ("svg", "pdf", "csv")}


def test_plot_of_two_runs_has_two_panels(run, finished, tmp_path):
    assert run("plot", finished.pk, finished.pk, "-w", "fermi-level", "-o", "figures").exit_code == 0
    table = pd.read_csv(tmp_path / "figures" / f"fermi-level-{finished.pk}-{finished.pk}.csv", comment="#")
    assert set(table.panel) == {"Co/Pt test (1)", "Co/Pt test (2)"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "10"], "temperature: 10.0 was given, the result has 1500"),
        (["--component", "yq"], "component: 'yq' was given, expected two of x, y, z"),
        (["-w", "structure"], "its structure is not known"),
    ],
)
def test_plot_says_what_cannot_be_drawn(run, finished, options, message):
    outcome = run("plot", finished.pk, "-w", "spin-orbit", *options)
    assert outcome.exit_code != 0
    assert message in said(outcome)


def test_plot_without_a_node(run):
    outcome = run("plot")
    assert outcome.exit_code == 2
    assert "expected a DmiWorkChain; only `-w rashba` needs none" in outcome.output


def test_report_writes_one_file(run, finished, tmp_path):
    assert run("report", finished.pk, "--quick").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"dmi-report-{finished.pk}.html"]
    outcome = run("report", finished.pk, "-o", "no/such/folder.html")
    assert outcome.exit_code == 2
    assert "folder no/such does not exist; make it first" in outcome.output


def test_export_csv_has_every_number(run, finished, tmp_path):
    assert run("export", finished.pk, "-o", "all.csv").exit_code == 0
    table = pd.read_csv(tmp_path / "all.csv", comment="#")
    result = finished.outputs.response.dataset
    assert len(table) == result.D.size
    row = table[(table.i == "y") & (table.j == "x") & (table["mask"] == "Co") & (table["soi_scale (1)"] == 0.5)]
    expected = result.D.sel(i="y", j="x", mask="Co", soi_scale=0.5).values.ravel()
    np.testing.assert_allclose(row["D (meV angstrom per cell)"], expected, rtol=1e-12)
    assert (tmp_path / "all.csv").read_text().startswith("# sign: F = sum_j")


def test_export_netcdf_and_model_are_the_files(run, finished, tmp_path):
    assert run("export", finished.pk, "--to", "netcdf", "-o", "r.nc").exit_code == 0
    assert run("export", finished.pk, "--to", "model", "-o", "m.h5").exit_code == 0
    with xr.open_dataset(tmp_path / "r.nc", engine="h5netcdf") as found:
        np.testing.assert_array_equal(found.D, finished.outputs.response.dataset.D)
    assert (tmp_path / "m.h5").read_bytes() == finished.inputs.model.get_content(mode="rb")


def test_export_for_micromagnetics_divides_by_the_thickness(run, finished, tmp_path):
    assert run("export", finished.pk, "--to", "mumax3", "-o", "film.mx3").exit_code == 0
    assert run("export", finished.pk, "--to", "ubermag", "-o", "film.py", "--thickness", 4.0).exit_code == 0
    script = (tmp_path / "film.mx3").read_text()
    value = float(script.splitlines()[-1].split()[2])
    values = finished.outputs.output_parameters["values"]
    # The one constant is the mean of D_yx and -D_xy; 1 mJ/m^2 = 1e-3 J/m^2.
    mean = (values["D_yx"]["mJ_per_m2"] - values["D_xy"]["mJ_per_m2"]) / 2
    assert value == pytest.approx(1e-3 * mean, rel=1e-5)
    line = (tmp_path / "film.py").read_text().splitlines()[-1]
    assert float(line.partition("D=")[2].partition(",")[0]) == pytest.approx(-value / 2, rel=1e-5)
    compile((tmp_path / "film.py").read_text(), "film.py", "exec")
    assert finished.uuid in script


def test_model_inspect_of_a_run_and_of_a_file(run, finished, model_file):
    by_pk, by_file = run("model", "inspect", finished.pk), run("model", "inspect", model_file)
    assert by_pk.exit_code == by_file.exit_code == 0
    assert "Co.1" in by_pk.output
    assert by_file.output.strip() in by_pk.output


def test_verdi_has_the_same(run, finished, tmp_path):
    pk = finished.outputs.response.pk
    shown = run("show", pk, "-t", "2.0", command=verdi_response)
    assert shown.exit_code == 0, shown.output
    assert "mJ/m^2" in shown.output
    assert run("plot", pk, "-w", "spin-orbit", command=verdi_response).exit_code == 0
    assert run("export", pk, "--to", "netcdf", command=verdi_response).exit_code == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".csv", ".nc"}
    wrong = run("export", pk, "--to", "mumax3", command=verdi_response)
    assert wrong.exit_code == 2
    assert "film needs its magnetic thickness" in wrong.output

"""The table of results, its files and its plots."""

import json

import numpy as np
import pandas as pd
import pytest

from aiida_dmi.cli.screen import shown
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.results import load_result
from aiida_dmi.screening.campaign import REFUSED, campaign_group
from aiida_dmi.screening.candidates import Candidate
from aiida_dmi.screening.controller import enter
from aiida_dmi.screening.plots import plot_doping, plot_doping_parts, plot_heat_map
from aiida_dmi.screening.table import Column, campaign_table, rank, write_table
from aiida_dmi.structures.bilayer import film_arguments


@pytest.fixture
def campaign(make_chain, unique):
    """Two magnets on two substrates, one of them failed, one refused; one virtual crystal."""
    group = campaign_group(unique, create=True)
    films = [("Co", "Pt", 1.0, 0), ("Fe", "Pt", -2.0, 0), ("Co", "Ir", 0.5, 430), ("Fe", "Ir", None, 401)]
    for magnet, substrate, scale, status in films:
        label = f"{magnet}/{substrate}(111) 1+1"
        facts = facts_of(magnet, substrate, label)
        chain = make_chain(
            label, status, scale or 1.0, outputs=scale is not None, message="gate: closure" if status else None
        )
        enter(group, chain, Candidate(label, {"film": film_arguments(f"{magnet}/{substrate}(111):1+1")}, facts=facts))
    label = "Co/Pt(111) 1+1, Co.1 = Co0.8Fe0.2"
    facts = {**facts_of("Co", "Pt", "Co/Pt(111) 1+1"), "doping": "vca", "series": "Co1-xFex in Co.1", "x": -0.2}
    host, mixtures = {"film": film_arguments("Co/Pt(111):1+1")}, {"Co.1": ("Fe", 0.2)}
    enter(group, make_chain(label, scale=1.5), Candidate(label, host, mixtures, facts=facts))
    group.base.extras.set(REFUSED, {"k": {"facts": {"label": "Xx"}, "message": "no such element"}})
    return unique


def facts_of(magnet, substrate, host):
    return {
        "magnet": magnet, "substrate": substrate, "cap": "", "layers": "1+1", "host": host,
        "doping": "none", "series": "", "x": 0.0, "substituted": None,
    }  # fmt: skip


def test_a_row_a_candidate(campaign, result_file):
    table = campaign_table(campaign)
    assert table["state"].tolist() == ["finished", "finished", "failed", "failed", "finished", "refused"]
    expected = load_result(result_file).sel(soi_scale=1.0, fermi_shift=0.0, i="y", j="x", mask="all").squeeze()
    assert table["D_yx_meV_angstrom"][0] == pytest.approx(expected.D.item())
    assert table["D_yx_meV_angstrom"][1] == pytest.approx(-2 * expected.D.item())
    assert table["a_I_yx_pJ_per_m"][0] == pytest.approx(expected.a_I.item() / 6.653846 * 1.602177, rel=1e-5)
    # What failed its gate keeps its numbers and says so; what has none says why.
    assert np.isfinite(table["D_yx_meV_angstrom"][2])
    assert table["message"][2:6].tolist() == ["gate: closure", "gate: closure", "", "no such element"]
    assert table["D_yx_meV_angstrom"][[3, 5]].isna().all()
    assert table["closure"][0] == 0.05
    assert table["response"][0] != table["response"][1]
    assert table["model"][0] == table["model"][1]


@pytest.mark.parametrize(
    ("heading", "column"),
    [
        ("D_yx_mJ_per_m2", ("D", "yx", "mJ_per_m2")),
        ("D_1_yx_meV_angstrom", ("D_1", "yx", "meV_angstrom")),
        ("a_II_yx_pJ_per_m", ("a_II", "yx", "pJ_per_m")),
        ("energy_meV", ("energy", "", "meV")),
        ("ahc_yx_e2_per_h", ("ahc", "yx", "e2_per_h")),
    ],
)
def test_what_a_column_holds(heading, column):
    assert Column.of(heading)[1:] == column


def test_on_the_screen_one_quantity(campaign):
    """D unless another is asked for, in all its units; what is not there is refused."""
    table = campaign_table(campaign)
    heading = shown(table).splitlines()[0].split("  ")
    assert [word for word in map(str.strip, heading) if word][:3] == ["film", "D_yx (meV angstrom per cell)", "+-"]
    assert "a(I)_yx (meV angstrom per cell)" in shown(table, quantity="a_I").splitlines()[0]
    with pytest.raises(InputError, match="energy in meV_angstrom was given, it has D, Q"):
        shown(table, quantity="energy")


def test_a_row_a_point(campaign, result_file):
    table = campaign_table(campaign, points=True)
    film = table[table["label"] == "Co/Pt(111) 1+1"]
    assert list(zip(film["mask"], film["shift_eV"], strict=True)) == [
        (mask, shift) for mask in ("all", "Co") for shift in (-0.1, 0.0, 0.1)
    ]
    result = load_result(result_file).sel(soi_scale=1.0, i="y", j="x").squeeze()
    np.testing.assert_allclose(film["Q_1_yx_meV_angstrom"], result.Q_1.values.ravel())
    electrons = result.electrons.values
    np.testing.assert_allclose(film["x"][:3].astype(float), (electrons - electrons[1]) / 2)
    assert film["compound"][:3].tolist() == ["Co1-xFex/Pt1-xIrx", "Co/Pt", "Co1-xNix/Pt1-xAux"]
    # A virtual crystal has its own x at zero shift and none elsewhere.
    mixed = table[(table["label"] == "Co/Pt(111) 1+1, Co.1 = Co0.8Fe0.2") & (table["mask"] == "all")]
    assert mixed["x"].astype(float).tolist() == pytest.approx([np.nan, -0.2, np.nan], nan_ok=True)


def test_rank(campaign):
    table = campaign_table(campaign)
    ranked = rank(table, "D_yx_meV_angstrom", absolute=True)
    assert ranked["label"].tolist()[0] == "Fe/Pt(111) 1+1"
    assert ranked["D_yx_meV_angstrom"].isna().tolist() == [False] * 4 + [True] * 2
    assert rank(table, "label", ascending=True)["label"].tolist() == sorted(table["label"])
    with pytest.raises(InputError, match="rank: 'D' is no column, expected one of label, state"):
        rank(table, "D")


def test_files(campaign, tmp_path):
    table = campaign_table(campaign)
    read = pd.read_csv(write_table(table, tmp_path / "new" / "t.csv"), keep_default_na=False, na_values=[""])
    np.testing.assert_allclose(read["D_yx_meV_angstrom"], table["D_yx_meV_angstrom"])
    rows = json.loads(write_table(table, tmp_path / "t.json").read_text())
    assert rows[0]["label"] == table["label"][0]
    assert rows[0]["D_yx_meV_angstrom"] == pytest.approx(table["D_yx_meV_angstrom"][0], rel=1e-12)
    with pytest.raises(InputError, match=r"ends in \.csv, \.json, \.parquet"):
        write_table(table, tmp_path / "t.xlsx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "t.json"]


def test_parquet(campaign, tmp_path):
    table = campaign_table(campaign)
    read = pd.read_parquet(write_table(table, tmp_path / "t.parquet"))
    np.testing.assert_allclose(read["D_yx_meV_angstrom"], table["D_yx_meV_angstrom"])


def test_plot_against_doping(campaign):
    table = campaign_table(campaign, points=True)
    axes = plot_doping(table).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[0] == "Co/Pt(111) 1+1, rigid shift"
    assert labels[-1] == "Co/Pt(111) 1+1, Co1-xFex in Co.1"
    drawn = axes.lines[0]
    film = table[(table["label"] == "Co/Pt(111) 1+1") & (table["mask"] == "all")]
    np.testing.assert_allclose(drawn.get_xdata(), film["x"].astype(float))
    np.testing.assert_allclose(drawn.get_ydata(), film["D_yx_meV_angstrom"])
    with pytest.raises(InputError, match="no doping in this table"):
        plot_doping(campaign_table(campaign)[:1])
    with pytest.raises(InputError, match="E in meV_angstrom was given, it has D, Q"):
        plot_doping(table, "E")


def test_decomposition_against_doping(campaign):
    """Four panels, each what a figure of its quantity alone shows."""
    table = campaign_table(campaign, points=True)
    for axes, quantity in zip(plot_doping_parts(table).axes, ("D", "Q", "a_I", "a_II"), strict=True):
        alone = plot_doping(table, quantity).axes[0]
        assert axes.get_ylabel() == alone.get_ylabel()
        assert len(axes.lines) == len(alone.lines)
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), alone.lines[0].get_xydata())
    with pytest.raises(InputError, match="a_II in meV_angstrom was given"):
        plot_doping_parts(table.drop(columns=[name for name in table if name.startswith("a_II")]))


def test_heat_map(campaign):
    table = campaign_table(campaign)
    axes = plot_heat_map(table).axes[0]
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    value = table["D_yx_meV_angstrom"]
    np.testing.assert_allclose(shown, [[value[0], value[2]], [value[1], np.nan]])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["Co", "Fe"]
    # Co/Ir failed a gate and kept its number, Fe/Ir has none.
    texts = [text.get_text() for text in axes.texts]
    assert [text.startswith("(") for text in texts] == [False, True, False, False]
    assert texts[3] == "-"
    assert "in brackets: failed a gate" in axes.get_title()
    several = pd.concat([table, table[:1].assign(layers="1+2")])
    with pytest.raises(InputError, match=r"several films of one magnet and substrate \(layers 1\+1, 1\+2\)"):
        plot_heat_map(several)

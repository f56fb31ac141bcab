"""Look and files of figures."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from aiida_dmi.engine.errors import InputError
from aiida_dmi.plots.style import COLOURS, DARK_PAGE, Table, drawn, panels, theme


def luminance(colour: str) -> float:
    """Relative luminance of the Web Content Accessibility Guidelines 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("name", list(COLOURS))
@pytest.mark.parametrize("page", ["#FFFFFF", DARK_PAGE])
def test_colours_are_seen_on_white_and_on_dark_pages(name, page):
    bright, dark = sorted((luminance(COLOURS[name]), luminance(page)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 3.0


@drawn
def simple():
    plot, (axes,) = panels([""])
    axes.plot([0, 1], [0, 2])
    plot.table.add({"x (1)": [0, 1], "y (meV)": [0.0, 2.0]})
    plot.table.notes.append("T = 300 K")
    return plot


def test_write_gives_pictures_and_the_numbers(tmp_path):
    paths = simple().write(tmp_path / "figure", ("png", "svg", "pdf"))
    assert [path.suffix for path in paths] == [".png", ".svg", ".pdf", ".csv"]
    starts = [path.read_bytes()[:5] for path in paths]
    assert starts[0].startswith(b"\x89PNG")
    assert starts[1].startswith(b"<?xml")
    assert starts[2].startswith(b"%PDF")
    lines = paths[3].read_text().splitlines()
    assert lines[0] == "# T = 300 K"
    assert list(csv.reader(lines[1:])) == [["x (1)", "y (meV)"], ["0", "0.0"], ["1", "2.0"]]


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_the_same_figure_is_the_same_file(tmp_path, suffix):
    first, second = (simple().write(tmp_path / name, (suffix,))[0].read_bytes() for name in ("a", "b"))
    assert first == second


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="format: gif was given, expected some of png, svg, pdf"):
        simple().write(tmp_path / "figure", ("png", "gif"))
    assert not list(tmp_path.iterdir())


def test_theme_colours_page_and_ink():
    with theme("dark"):
        dark = simple()
    light = simple()
    assert dark.get_facecolor()[:3] == pytest.approx(to_rgb(DARK_PAGE))
    assert light.get_facecolor()[:3] == pytest.approx((1, 1, 1))
    assert luminance(dark.axes[0].xaxis.label.get_color()) > 0.5
    with pytest.raises(InputError, match="theme: 'neon'"), theme("neon"):
        pass


def test_tables_with_different_columns_stay_aligned():
    table = Table()
    table.add({"a": [1, 2]})
    table.add({"a": [3], "b": [4]})
    assert table.columns == {"a": [1, 2, 3], "b": ["", "", 4]}

"""Labels, masks and directions of other people's archives: text in exports, pages and figures, and never more."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings

import pandas as pd
import pytest

from aiida_dmi.engine import RashbaModel, WannierModel, compute
from aiida_dmi.plots.layers import layer_parts, plot_layers
from aiida_dmi.plots.response import plot_masked, plot_spin_orbit
from aiida_dmi.report.export import micromagnetic, sweep_csv
from aiida_dmi.report.page import render

from ..test_text import EVIL

# Half of a pair is no name in a result: a netCDF file has none.
NAMES = [text for text in EVIL if "\ud800" not in text]
FORMULAS = [text for text in NAMES if "$" in text or "\\" in text or not text.isprintable()]
STUB = "class DMI:\n    def __init__(self, **arguments):\n        print('DMI', sorted(arguments))\n"


@pytest.fixture(scope="module")
def result(model_file):
    """A sweep of two masks, small."""
    return compute(
        WannierModel.load(model_file),
        4,
        soi_scales=[0.5, 1.0],
        fermi_shifts=[-0.2, 0.0],
        temperatures=[1500.0],
        soi_masks={"all": [1.0, 1.0], "part": [1.0, 0.0]},
        directions=[[0, 0, 1]],
    )


def renamed(result, text):
    """The same from somebody who calls his masks and directions as he likes."""
    return result.assign_coords(mask=["all", text], direction=[text])


@pytest.fixture
def exported(result):
    """A script for a micromagnetic program; the label of the calculation and the mask are evil."""

    def write(program, text):
        mask = text if text in NAMES else "part"
        named = renamed(result, mask)
        # One constant does not describe so coarse a sum: its symmetric part is what is written here.
        d = named.D.copy()
        d[:] = 0.0
        d.loc[{"i": "y", "j": "x"}], d.loc[{"i": "x", "j": "y"}] = 1.0, -1.0
        choice = {"mask": mask, "soi_scale": 1.0, "fermi_shift": 0.0, "temperature": 1500.0}
        return micromagnetic(program, named.assign(D=d), 2.0, f"{text}, uuid 0", choice)

    return write


def test_a_script_for_ubermag_runs_its_own_lines_alone(exported, tmp_path):
    """Every one read from its file, as Python reads a script."""
    (tmp_path / "micromagneticmodel.py").write_text(STUB)
    scripts = [tmp_path / f"script{number}.py" for number in range(len(EVIL))]
    for script, text in zip(scripts, EVIL, strict=True):
        script.write_bytes(exported("ubermag", text).encode())
    all_of_them = "import runpy, sys\nfor path in sys.argv[1:]:\n    runpy.run_path(path)\n"
    done = subprocess.run(
        [sys.executable, "-B", "-c", all_of_them, *map(str, scripts)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("DMI ['D', 'crystalclass']\n" * len(EVIL), "")
    assert set(tmp_path.iterdir()) == {tmp_path / "micromagneticmodel.py", *scripts}


@pytest.mark.parametrize("text", EVIL)
def test_a_script_for_mumax3_has_one_statement(exported, text):
    lines = exported("mumax3", text).splitlines()
    statements = [line for line in lines if not line.startswith("// ")]
    assert len(statements) == 1
    assert statements[0].startswith("Dind = ")


@pytest.mark.parametrize("text", NAMES)
def test_a_table_is_one_line_a_row(result, text):
    content = sweep_csv(renamed(result, text))
    table = pd.read_csv(io.StringIO(content), comment="#", quotechar='"')
    rows = 1 * 2 * 2 * 1 * 2 * 3 * 2
    assert len(table) == rows
    assert content.count("\n") == len([line for line in content.splitlines() if line.startswith("#")]) + 1 + rows
    assert not table["mask"].astype(str).str.startswith(("=", "+", "@")).any()


@pytest.mark.parametrize("text", FORMULAS)
def test_figures_show_it_as_it_stands(result, text, tmp_path):
    named = renamed(result, text)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        for plot in (plot_spin_orbit(named, text), plot_masked(named, text, part=text, mask="all")):
            picture, numbers = plot.write(tmp_path / "figure", ("svg",))
            assert picture.stat().st_size > 0
            assert len(pd.read_csv(numbers, comment="#")) > 0


def test_layers_with_names_of_their_own(model_file, tmp_path):
    """Kinds may be called as one likes, and so are the layers then."""
    parts = layer_parts(WannierModel.load(model_file), mesh=4, temperature=1500.0)
    named = parts.assign_coords(layer=["$x", "a\nb"])
    assert plot_layers(named, "$").write(tmp_path / "layers", ("png",))


def test_a_page_is_text(finished, monkeypatch):
    """The page can be written, and holds no element that a label made."""
    plain, label, text = render(finished, from_model=False), finished.label, " ".join(EVIL)
    # A database takes neither NUL nor halves of pairs: a page does not rely on it.
    monkeypatch.setattr(type(finished), "label", text)
    page = render(finished, from_model=False)
    assert finished.label == text != label
    page.encode("utf-8")
    assert page.count("<") == plain.count("<")
    assert all(c.isprintable() or c == "\n" for c in page)


def test_a_model_of_ones_own_needs_no_masks(tmp_path):
    found = compute(RashbaModel(1.0, 0.1), mesh=4, cutoff=1.0)
    assert "# sign: " in sweep_csv(found)

"""docs/validation.md: every number, table and figure of it comes out of the archive of its runs again."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import pytest
from aiida import orm
from aiida.tools.archive import import_archive

ROOT = Path(__file__).parents[1]
VALIDATION = ROOT / "validation"


@pytest.fixture(scope="module")
def cases(aiida_profile, validation_scripts):
    """The films of the archive."""
    from results import load

    import_archive(validation_scripts / "validation.aiida")
    return load()


def test_films(cases):
    """All films of films.py are there, each with the model's gate passed and its responses."""
    from films import FILMS, IN_PLANE, NOT_RUN

    assert set(cases) == set(FILMS) - set(NOT_RUN)
    for label, case in cases.items():
        assert "z" in case.responses, label
        assert ("x" in case.responses) == (label in IN_PLANE)
        assert case.record["quality"]["time_reversal"] < 1e-3


def test_k_errors(cases):
    """Below 2 % of D, for every film."""
    for label, case in cases.items():
        point = case.at("z")
        assert float(point.D_error) < 0.02 * abs(float(point.D)), label


def test_numbers(cases):
    from results import numbers

    kept = json.loads((VALIDATION / "numbers.json").read_text())
    assert json.loads(json.dumps(numbers(cases))) == kept


def test_pages(cases):
    """The tables and captions stand in the pages as the archive gives them."""
    from figures import PAGES
    from tables import TABLES, update

    texts = {page: (ROOT / "docs" / page).read_text(encoding="utf-8") for page in PAGES}
    assert all(any(f"<!-- table: {name} -->" in text for text in texts.values()) for name in TABLES)
    for page, text in texts.items():
        assert update(ROOT / "docs" / page, cases) == text


def test_figures(cases, tmp_path):
    """The numbers that are drawn are those beside the pictures in the docs."""
    from figures import figures

    folder = ROOT / "docs" / "images" / "validation"
    names = set()
    for name, plot in figures(cases):
        *_, table = plot.write(tmp_path / name)
        same_table(table, folder / table.name)
        assert (folder / f"{name}.png").exists()
        names.add(f"{name}.csv")
    assert names == {path.name for path in folder.glob("*.csv")}


def same_table(made: Path, kept: Path) -> None:
    """The same words, and numbers to 1e-9: Fig. 2 is computed, and the last digits are the machine's."""
    rows = [list(csv.reader(path.open(encoding="utf-8", newline=""))) for path in (made, kept)]
    assert [len(row) for row in rows[0]] == [len(row) for row in rows[1]], made.name
    for one, other in zip(itertools.chain(*rows[0]), itertools.chain(*rows[1]), strict=True):
        if one != other:
            assert float(one) == pytest.approx(float(other), rel=1e-9, abs=1e-9), made.name


def test_from_a_number_back_to_the_slab(cases):
    """The film whose model is kept has its whole provenance in the archive."""
    query = orm.QueryBuilder().append(orm.Node, filters={"label": "copt-1-1/z"}, tag="number")
    query.append(orm.StructureData, with_descendants="number", project="*")
    slabs = query.distinct().all(flat=True)
    assert "CoPt" in {slab.get_formula() for slab in slabs}
    chain = orm.load_node(cases["copt-1-1"].record["workchain"])
    assert chain.is_finished_ok
    assert chain.outputs.model.load().functions == 18

"""The report: one file, complete, and nothing in it that asks the network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from aiida import orm

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import with_error
from aiida_dmi.report.page import render, write_report

VOID = {"meta", "img", "br", "link", "input"}


class Checker(HTMLParser):
    """Open and closed tags, addresses and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.addresses += [found[key] for key in ("src", "href") if key in found]
        self.ids += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(finished) -> str:
    return render(finished, mesh=4)


def test_the_page_is_well_formed_and_needs_no_network(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    for address in checker.addresses:
        assert address.startswith(("data:image/", "data:text/csv;base64,", "#"))
        assert not address.startswith("#") or address[1:] in checker.ids
    assert not re.search(r"@import|url\(|<script", page)


def test_the_page_has_what_a_reader_asks_for(page, finished):
    d = finished.outputs.output_parameters["values"]["D_yx"]
    assert with_error(d["pJ_per_m"], d["pJ_per_m_error"]).replace("+-", "\u00b1") in page
    for words in (
        finished.uuid,
        "Co/Pt test",
        "closure",
        "Protocol <b>fast</b> (recorded when it was started), from which these differ",
        "response.mesh",
        "Phys. Rev. B 96, 054403",
        "aiida-core",
        "Every direction, mask and temperature",
        "DmiCalculation",
    ):
        assert words in page
    assert set(re.findall(r'<figure id="figure-([\w-]+)"', page)) == {
        "spin-orbit",
        "fermi-level",
        "masked",
        "k-map",
        "bands",
        "layers",
        "provenance",
    }


def test_quick_leaves_out_what_the_model_would_have_to_give(finished, tmp_path):
    path = tmp_path / "report.html"
    write_report(finished, path, from_model=False)
    text = path.read_text()
    assert set(re.findall(r'<figure id="figure-([\w-]+)"', text)) == {
        "spin-orbit",
        "fermi-level",
        "masked",
        "provenance",
    }
    assert "bands: left out on request." in text


def test_text_of_users_is_escaped(finished):
    finished.label, label = "<b>film & co</b>", finished.label
    try:
        assert "<h1>&lt;b&gt;film &amp; co&lt;/b&gt;</h1>" in render(finished, from_model=False)
    finally:
        finished.label = label


def test_only_an_ended_dmi_workchain_has_a_report(finished, stored_inputs):
    with pytest.raises(InputError, match="a DmiData was given, expected a DmiWorkChain"):
        render(finished.outputs.response)
    with pytest.raises(InputError, match="has not ended"):
        render(stored_inputs())


def test_a_run_that_failed_has_a_report_that_says_why(stored_inputs):
    node = stored_inputs(overrides={"response": {"mesh": 96}})
    node.set_process_state("finished")
    node.set_exit_status(401)
    node.set_exit_message("step model: the scf did not converge")
    assert isinstance(node, orm.WorkChainNode)
    text = render(node)
    assert "exit 401: step model: the scf did not converge" in text
    assert 'id="figure-structure"' in text
    assert "Protocol <b>fast</b> (the nearest one: it is not recorded which one made these inputs)" in text
    assert "<code>response.mesh</code>" in text
    assert "D. R. Hamann" in text

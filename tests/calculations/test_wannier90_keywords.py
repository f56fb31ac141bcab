"""Keywords of wannier90.x: those it knows, and values that it can read."""

import subprocess

import numpy as np
import pytest

from aiida_dmi.calculations.wannier90_input import format_win
from aiida_dmi.calculations.wannier90_keywords import KeywordError, check_keyword, keywords

VALUES = {
    "logical": True,
    "integer": 3,
    "real": 0.5,
    "text": "abc",
    "integers": [1, 2],
    "reals": [0.5, 1.0],
    "ranges": "1-3,7",
}


def test_every_kind_has_values_that_fit():
    for name, kind in keywords().items():
        if kind == "block":
            with pytest.raises(KeywordError, match=r"is a block of the \.win file"):
                check_keyword(name, 1)
            continue
        check_keyword(name, VALUES[kind])
        check_keyword(name, None)
    assert len(keywords()) > 200


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_itr", 3, "did you mean num_iter?"),
        ("quux", 3, "one of a newer wannier90.x has to stand in `unchecked_keywords` too"),
        ("num_iter", "3", "'3' was given, expected an integer"),
        ("num_iter", True, "True was given, expected an integer"),
        ("dis_mix_ratio", "half", "'half' was given, expected a number"),
        ("dis_mix_ratio", float("nan"), "nan was given, expected a number"),
        ("guiding_centres", "yes", "'yes' was given, expected true or false"),
        ("guiding_centres", 1, "1 was given, expected true or false"),
        ("translation_centre_frac", 0.5, "expected a list of numbers"),
        ("shell_list", "1;2", "expected integers, or ranges such as '1-3,7'"),
        ("one_dim_axis", "x\nnum_wann = 1", "expected text of one line"),
    ],
)
def test_refused(name, value, message):
    with pytest.raises(KeywordError) as caught:
        check_keyword(name, value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["num_itr", "quux"])
def test_wannier90_itself_ends_at_an_unknown_keyword(name, tmp_path):
    parameters = {"num_wann": 1, "mp_grid": [1, 1, 1], name: 3}
    text = format_win(
        parameters, cell=np.eye(3) * 3, sites=[("Co", (0, 0, 0))], kpoints=[(0, 0, 0)], projections=["Co:s"]
    )
    (tmp_path / "a.win").write_text(text)
    subprocess.run(["wannier90.x", "-pp", "a"], cwd=tmp_path, capture_output=True, check=False)
    assert not (tmp_path / "a.nnkp").exists()
    assert "Unrecognised keyword" in "".join(file.read_text() for file in tmp_path.glob("a.*"))


def test_known_keywords_are_read_by_wannier90(tmp_path):
    """All that a -pp run takes without other files, in one: a keyword that it did not know would end it."""
    harmless = {
        name: VALUES[kind]
        for name, kind in keywords().items()
        if name.startswith(
            ("boltz_", "kubo_", "dos_", "geninterp_", "bands_", "conv_", "num_print", "num_dump", "write_")
        )
        and kind in ("logical", "real", "integer")
    }
    assert len(harmless) > 40
    parameters = {"num_wann": 1, "mp_grid": [1, 1, 1], **harmless, "bands_plot": False, "dos_adpt_smr": False}
    text = format_win(
        parameters, cell=np.eye(3) * 3, sites=[("Co", (0, 0, 0))], kpoints=[(0, 0, 0)], projections=["Co:s"]
    )
    (tmp_path / "a.win").write_text(text)
    subprocess.run(["wannier90.x", "-pp", "a"], cwd=tmp_path, capture_output=True, check=False)
    assert "Unrecognised" not in "".join(file.read_text() for file in tmp_path.glob("a.*"))

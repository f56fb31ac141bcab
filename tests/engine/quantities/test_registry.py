"""What the registry holds, and that everything takes it from there."""

import numpy as np
import pytest

from aiida_dmi.engine import InputError, compute, load_result, save_result
from aiida_dmi.engine.maps.k_map import k_map
from aiida_dmi.engine.quantities.registry import BY_DEFAULT, NAMES, QUANTITIES, TITLES


def test_names():
    assert BY_DEFAULT == ("D", "Q", "a_I", "a_II", "D_1")
    assert {"energy", "ahc"} <= set(NAMES)
    assert [name for name in QUANTITIES if name not in NAMES] == ["a_II_exact"]
    assert {*QUANTITIES, "Q_1"} == set(TITLES)
    assert all(one.title and one.name == name for name, one in QUANTITIES.items())


@pytest.mark.parametrize("name", NAMES)
def test_every_quantity_by_itself(name, film, tmp_path):
    """As among all others, with its error and unit; through a file, and as the mean of its map over k."""
    model = film(2).model()
    axes = {"soi_scales": [0.5, 1.0], "temperatures": [900.0], "fermi_shifts": [-0.2, 0.1], "fermi_level": "dft"}
    every, alone = compute(model, 6, quantities=NAMES, **axes), compute(model, 6, quantities=[name], **axes)
    one = QUANTITIES[name]
    assert set(alone[name].dims) - set(every.D.dims) <= {axis.name for axis in one.axes}
    assert ("soi_scale" in alone[name].dims) == one.finite
    assert alone[name].attrs["units"] == one.unit(model).name
    assert alone[f"{name}_error"].attrs["units"] == alone[name].attrs["units"]
    for variable in (name, f"{name}_error"):
        np.testing.assert_array_equal(alone[variable], every[variable])
    assert not {other for other in NAMES if other != name} & set(alone.data_vars)
    save_result(alone, tmp_path / "result.nc")
    np.testing.assert_array_equal(load_result(tmp_path / "result.nc")[name], alone[name])
    mapped = k_map(model, 6, [name], temperature=900.0, mu=model.fermi_energy + 0.1, soi_scale=0.5)
    assert mapped[name].attrs["units"] == alone[name].attrs["units"]
    expected = alone[name].sel(fermi_shift=0.1)
    expected = expected.sel(soi_scale=0.5) if one.finite else expected
    scale = float(np.abs(expected).max())
    # The energy's N is that of Hbar in a result, and of H at each k in a map.
    tolerance = 1e-2 if name == "energy" else 1e-9
    np.testing.assert_allclose(mapped[name].mean("k"), expected.squeeze(), rtol=0, atol=tolerance * scale)


def test_unknown_quantities_are_named(film):
    with pytest.raises(InputError, match=r"quantities: .*spin Hall.*, expected a list of some of D, Q, .*ahc"):
        compute(film(2).model(), 6, quantities=["spin Hall"])

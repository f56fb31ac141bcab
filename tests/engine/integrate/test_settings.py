"""What `compute` refuses: InputError that names the argument and its value, before anything is computed."""

import numpy as np
import pytest
import xarray as xr

from aiida_dmi.engine import InputError, RashbaModel, compute
from aiida_dmi.engine.integrate.settings import Settings, Tolerance, direction_label


def settings(**changes):
    arguments = {
        "dimension": 2,
        "atoms": 2,
        "mesh": 4,
        "soi_scales": (1.0,),
        "fermi_shifts": (0.0,),
        "temperatures": (300.0,),
        "directions": ((0, 0, 1),),
        "soi_masks": None,
        "fermi_level": "neutral",
    }
    return Settings.checked(**(arguments | changes))


BAD = [
    ("mesh", 0, "0"),
    ("mesh", (4, 4, 4), "(4, 4, 4)"),
    ("soi_scales", [], "[]"),
    ("soi_scales", [np.nan], "nan"),
    ("soi_scales", 1.0, "1.0"),
    ("soi_scales", ["much"], "much"),
    ("soi_scales", [0.5, 0.5], "0.5"),
    ("soi_scales", None, "None"),
    ("fermi_shifts", [np.inf], "inf"),
    ("fermi_shifts", [], "[]"),
    ("fermi_shifts", [0.0, 0.0], "twice"),
    ("temperatures", [0.0], "0"),
    ("temperatures", [300.0, -1.0], "-1"),
    ("temperatures", [np.nan], "nan"),
    ("temperatures", 300.0, "300"),
    ("directions", [], "[]"),
    ("directions", [(0, 0, 0)], "0"),
    ("directions", [(0, 1)], "0"),
    ("directions", (0, 0, 1), "(0, 0, 1)"),
    ("directions", [("x", "y", "z")], "x"),
    ("directions", [(0, 0, 1), (0, 0, 2)], "0,0,1"),
    ("directions", [(np.nan, 0, 1)], "nan"),
    ("soi_masks", {}, "{}"),
    ("soi_masks", [1, 1], "[1, 1]"),
    ("soi_masks", {"all": [1]}, "[1]"),
    ("soi_masks", {"all": [1, np.inf]}, "inf"),
    ("soi_masks", {"all": None}, "None"),
    ("soi_masks", {"all": ["a", "b"]}, "a"),
    ("soi_masks", {1: [1, 1], "1": [1, 0]}, "1"),
    ("soi_masks", {"all": [1, True]}, "True"),
    ("soi_masks", {"all": {0: 1, 1: 1}}, "{0: 1"),
    ("soi_masks", {"all": [1, -2e3]}, "-2000"),
    ("soi_scales", [True], "True"),
    ("soi_scales", [1, "0.5"], "'0.5'"),
    ("soi_scales", {0.5, 1.0}, "list of finite numbers"),
    ("soi_scales", np.array(1.0), "1."),
    ("soi_scales", np.ones((2, 2)), "1."),
    ("soi_scales", [1j], "1j"),
    ("temperatures", [1e-100], "1e-100 K was given, expected at least 0.001 K"),
    ("temperatures", [300, 9e-4], "0.0009 K was given, expected at least 0.001 K"),
    ("temperatures", ["300"], "'300'"),
    ("directions", [("0", 0, 1)], "'0'"),
    ("soi_masks", {"all": [1, "1"]}, "'1'"),
    ("soi_masks", {1: [1, 1]}, "put it in quotes, '1'"),
    ("soi_masks", {True: [1, 1]}, "put it in quotes"),
    ("soi_masks", {"": [1, 1]}, "printable"),
    ("soi_masks", {"  ": [1, 1]}, "printable"),
    ("soi_masks", {"a\0b": [1, 1]}, "'a\\x00b' was given, expected a name of printable characters"),
    ("soi_masks", {"a\nb": [1, 1]}, "'a\\nb'"),
    ("soi_masks", {"\ud800": [1, 1]}, "'\\ud800'"),
    ("soi_masks", {"\x1b[31m": [1, 1]}, "'\\x1b[31m'"),
    ("soi_masks", {"\u202eCo": [1, 1]}, "printable"),
    ("symmetry", "maybe", "'maybe' was given, expected true, false, 'model' or 'auto'"),
    ("symmetry", 1, "1 was given, expected true, false"),
    ("symmetry", "true", "'true' was given"),
    ("tolerance", -1, "-1 was given, expected a positive number"),
    ("tolerance", "1", "'1'"),
    ("max_mesh", 24.0, "24.0"),
    ("max_mesh", 10**19, "10000000000000000000 was given"),
    ("method", "guess", "expected one of bands, green"),
    ("quantities", ["E"], "expected a list of some of D, Q"),
    ("soi_scales", {1.0: "all"}, "1.0"),
    ("soi_scales", [1, -1001.0], "-1001 was given, expected at most 1000"),
    ("soi_scales", iter(["much"]), "much"),
    ("soi_scales", [10**5000], "digits"),
    ("soi_scales", [*range(999), "much"], "much"),
    ("fermi_shifts", [0.0, 1e308], "1e+308 eV was given, expected at most 100 eV"),
    ("fermi_shifts", [-100.1], "-100.1 eV"),
    ("temperatures", [1e7], "1e+07 K was given, expected at most 1e+06 K"),
    ("temperatures", [300, np.False_], "False"),
    ("directions", "001", "001"),
    ("directions", {0: [0, 0, 1]}, "{0: [0, 0, 1]}"),
    ("directions", [(0, 0, True)], "True"),
    ("directions", [[0, 0, 1], []], "[]"),
    ("directions", [np.array([0.0, 1.0])], "[0.0, 1.0] was given"),
    ("mesh", None, "missing"),
    ("mesh", 24.0, "24.0"),
    ("mesh", 10**400, "k points"),
    ("fermi_level", "fermi", "fermi"),
    ("fermi_level", None, "None"),
    ("fermi_level", ["dft"], "dft"),
]


@pytest.mark.parametrize(("name", "value", "shown"), BAD)
def test_bad_argument(name, value, shown):
    with pytest.raises(InputError) as caught:
        settings(**{name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert shown in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperatures", "123"), ("soi_scales", "01"), ("directions", ["001"]), ("soi_masks", {"all": "11"})],
)
def test_string_is_no_list(name, value):
    with pytest.raises(InputError, match=name):
        settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperatures", [10**400]), ("directions", [[0, 0, 10**400]]), ("soi_masks", {"all": [1, 10**400]})],
)
def test_number_beyond_floats(name, value):
    with pytest.raises(InputError, match=name):
        settings(**{name: value})


def test_message_shows_the_direction_as_given():
    with pytest.raises(InputError, match=r"directions: \[0\.0, 0\.0, 0\.0\] was given"):
        settings(directions=[(0, 0, 0)])


def test_limits_are_inside():
    """The largest values that are taken, and the smallest temperature."""
    found = settings(
        soi_scales=[1e3, 1e-3], fermi_shifts=[-100, 100], temperatures=[1e6, 1e-3], soi_masks={"a": [1e3, 0]}
    )
    assert found.soi_scales == (1000.0, 0.001)
    assert found.fermi_shifts == (-100.0, 100.0)
    assert found.temperatures == (1e6, 1e-3)
    assert found.soi_masks == {"a": (1000.0, 0.0)}


def test_directions_of_any_length():
    """No component overflows on the way to a unit vector."""
    found = settings(directions=[(0, 0, 1e300), (3e-11, 4e-11, 0), (-1e308, 1e308, 0)])
    expected = [(0, 0, 1), (0.6, 0.8, 0), (-np.sqrt(0.5), np.sqrt(0.5), 0)]
    np.testing.assert_allclose(found.directions, expected, atol=1e-15)
    assert found.direction_labels == ["0,0,1", "0.6,0.8,0", "-0.707107,0.707107,0"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"symmetry": True}, "symmetry"),
        ({"processes": 0}, "processes"),
        ({"processes": 1.5}, "processes"),
        ({"processes": True}, "processes"),
        ({"cutoff": 1.0}, "cutoff"),
        ({"mesh": 0}, "mesh"),
        ({"soi_masks": {"one": [1]}}, "soi_masks"),
        ({"temperatures": [0]}, "temperatures"),
    ],
)
def test_compute_refuses(small_model, arguments, name):
    with pytest.raises(InputError, match=f"^{name}: "):
        compute(small_model, **({"mesh": 4} | arguments))


@pytest.mark.parametrize("cutoff", [None, 0.0, -1.0, np.nan, np.inf])
def test_rashba_needs_a_cutoff(cutoff):
    with pytest.raises(InputError, match="cutoff"):
        compute(RashbaModel(0.1, 1.0), 8, cutoff=cutoff)


@pytest.mark.parametrize("arguments", [(np.nan, 1.0), (0.1, np.inf), (0.1, 1.0, 0.0), (0.1, 1.0, -1.0)])
def test_bad_rashba_model(arguments):
    with pytest.raises(InputError, match="RashbaModel"):
        RashbaModel(*arguments)


def test_electrons_that_do_not_fit(film):
    """All bands full: no chemical potential makes them so."""
    model = film(1, functions=2).model((3, 3, 1), electrons=4.0)
    with pytest.raises(InputError, match=r"electrons: 4 .*fermi_level='dft'"):
        compute(model, 4)
    assert np.isfinite(compute(model, 4, fermi_level="dft").D.values).all()


def test_defaults(small_model):
    """design.md: n = z, all atoms, xi = 1, no shift, 300 K, neutral."""
    result = compute(small_model, 4)
    assert result.direction.values.tolist() == ["0,0,1"]
    np.testing.assert_allclose(result.direction_vector.values, [[0, 0, 1]])
    assert result["mask"].values.tolist() == ["all"]
    np.testing.assert_allclose(result.mask_weights.values, [[1, 1]])
    assert result.soi_scale.values.tolist() == [1.0]
    assert result.fermi_shift.values.tolist() == [0.0]
    assert result.temperature.values.tolist() == [300.0]
    assert result.attrs["fermi_level"] == "neutral"


def test_axes_and_dimensions(small_model):
    """D, Q over (direction, mask, soi_scale, temperature, fermi_shift, i, j), the first order without soi_scale."""
    result = compute(
        small_model,
        4,
        soi_scales=iter([0.1, 0.5]),
        fermi_shifts=[-0.1, 0.0, 0.1],
        temperatures=[300, 600, 900, 1200],
        directions=[(0, 0, 1), (1, 0, 0), (0, 3, 4), (0, 0, -2), (1, 1, 1)],
        soi_masks={"all": [1, 1], "Co": (1, 0)},
    )
    full = ("direction", "mask", "soi_scale", "temperature", "fermi_shift", "i", "j")
    assert result.D.dims == result.Q.dims == full
    assert result.D.shape == (5, 2, 2, 4, 3, 3, 2)
    first = tuple(name for name in full if name != "soi_scale")
    for name in ("a_I", "a_II", "D_1", "Q_1"):
        assert result[name].dims == first
        assert result[f"{name}_error"].dims == first
    assert result.closure.dims == ("direction", "mask", "temperature", "fermi_shift")
    assert result.electrons.dims == ("temperature", "fermi_shift")
    assert result.i.values.tolist() == ["x", "y", "z"]
    assert result.j.values.tolist() == ["x", "y"]
    assert result.direction.values.tolist()[2:4] == ["0,0.6,0.8", "0,0,-1"]
    np.testing.assert_allclose(np.linalg.norm(result.direction_vector.values, axis=1), 1.0)
    assert result["mask"].values.tolist() == ["all", "Co"]


def test_every_axis_is_what_one_value_gives(small_model):
    """A sweep is the same as its points one by one: no axis is mixed up with another."""
    axes = {
        "soi_scales": [0.3, 1.0],
        "fermi_shifts": [-0.2, 0.1],
        "temperatures": [700.0, 1500.0],
        "directions": [(0, 0, 1), (1, 0.5, 0)],
    }
    masks = {"all": [1, 1], "Pt": [0, 1]}
    sweep = compute(small_model, 4, soi_masks=masks, **axes)
    for d, m, x, t, s in np.ndindex(2, 2, 2, 2, 2):
        name = list(masks)[m]
        one = compute(
            small_model,
            4,
            soi_scales=[axes["soi_scales"][x]],
            fermi_shifts=[axes["fermi_shifts"][s]],
            temperatures=[axes["temperatures"][t]],
            directions=[axes["directions"][d]],
            soi_masks={name: masks[name]},
        )
        part = sweep.isel(direction=d, mask=m, soi_scale=x, temperature=t, fermi_shift=s)
        for tensor in ("D", "Q", "a_I", "a_II", "D_1"):
            # The threshold between direct and limit forms follows the lowest temperature of the sweep: 1e-7.
            exact = one[tensor].values.squeeze()
            scale = np.abs(sweep[tensor].values).max()
            np.testing.assert_allclose(part[tensor].values, exact, atol=1e-7 * scale)
        assert part.mu.item() == pytest.approx(one.mu.item(), abs=1e-10)
        assert part.electrons.item() == pytest.approx(one.electrons.item(), rel=1e-10)


@pytest.mark.parametrize(
    ("direction", "label"),
    [((0, 0, 1.0), "0,0,1"), ((-0.0, 0, -1), "0,0,-1"), ((1 / 3, 0.25, 1e-9), "0.333333,0.25,0")],
)
def test_direction_label(direction, label):
    assert direction_label(direction) == label


def test_what_numpy_and_xarray_give():
    """Numbers, arrays, iterators and labelled arrays of any type of number are taken as what they are."""
    found = settings(
        mesh=np.array([4, 6], dtype=np.int32),
        soi_scales=np.array([0.5, 1], dtype=np.float32),
        fermi_shifts=xr.DataArray([-0.5, 0.0], dims="fermi_shift"),
        temperatures=(np.int64(t) for t in (300, 600)),
        directions=np.array([[0, 0, 1], [1, 0, 0]]),
        soi_masks={"all": xr.DataArray([1, 0.5])},
        symmetry=np.False_,
        tolerance=np.float32(0.5),
        max_mesh=np.int64(96),
        quantities=iter(["Q", "D"]),
    )
    assert found.mesh.divisions == (4, 6)
    assert (found.soi_scales, found.fermi_shifts, found.temperatures) == ((0.5, 1.0), (-0.5, 0.0), (300.0, 600.0))
    assert found.directions == ((0, 0, 1), (1, 0, 0))
    assert found.soi_masks == {"all": (1.0, 0.5)}
    assert (found.symmetry, found.max_mesh, found.quantities) == (False, 96, ("D", "Q"))
    assert found.tolerance == Tolerance(0.5, False)
    for value in (*found.soi_scales, *found.temperatures, found.tolerance.value, *found.soi_masks["all"]):
        assert type(value) is float
    assert type(found.symmetry) is bool


@pytest.mark.parametrize("model", [None, "model.h5", 3])
def test_what_is_no_model(model):
    with pytest.raises(InputError, match=r"^model: .* expected a WannierModel or a RashbaModel"):
        compute(model, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"checkpoint": 3}, "checkpoint: 3 was given, expected a path"),
        ({"save": 3}, "save: 3 was given"),
        ({"progress": "no"}, "progress: 'no' was given, expected true or false"),
        ({"processes": 5000}, "processes: 5000"),
        ({"memory_limit": 10**400}, "memory_limit: 1000"),
        ({"processes": 10**5000}, "digits"),
    ],
)
def test_how_it_runs(small_model, arguments, words):
    with pytest.raises(InputError) as caught:
        compute(small_model, 4, **arguments)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500

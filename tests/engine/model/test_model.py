"""WannierModel files: every check of model-format.md refuses its broken file and names the dataset."""

import dataclasses
import os
import warnings

import h5py
import numpy as np
import pytest

from aiida_dmi.engine import InputError, WannierModel


@pytest.fixture
def path(small_model, tmp_path):
    """A good model file, to be broken."""
    path = tmp_path / "model.h5"
    small_model.save(path)
    return path


def replace(path, name, value):
    with h5py.File(path, "a") as file:
        del file[name]
        if value is not None:
            file[name] = value


def change(path, name, function):
    with h5py.File(path, "r") as file:
        value = file[name][()]
    replace(path, name, function(value))


def required(file):
    names = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


DATASETS = [
    "cell",
    "periodic",
    "symbols",
    "positions",
    "mesh",
    "kpoints",
    "fermi_energy",
    "electrons",
    "overlap",
    *(f"{group}/{spin}" for group in ("centres", "hamiltonian", "position") for spin in ("up", "down")),
    *(f"spin_orbit/{a}/{name}" for a in (0, 1) for name in ("projections_up", "projections_down", "coupling")),
]
NUMBERS = [name for name in DATASETS if name not in ("symbols", "periodic", "mesh")]


# -- round trip ----------------------------------------------------------------------------------------


def test_save_and_load_are_inverse(small_model, tmp_path):
    model = dataclasses.replace(
        small_model,
        moments=np.array([1.5, -0.25]),
        attributes={"built_by": "test", "spreads": np.array([1.0, 2.0]), "number": 3},
    )
    model.save(tmp_path / "model.h5")
    loaded = WannierModel.load(tmp_path / "model.h5")
    for field in dataclasses.fields(model):
        before, after = getattr(model, field.name), getattr(loaded, field.name)
        if field.name in ("projections", "coupling"):
            assert len(before) == len(after)
            assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))
        elif field.name == "attributes":
            assert before.keys() == after.keys()
            assert all(np.array_equal(before[key], after[key]) for key in before)
        elif isinstance(before, np.ndarray):
            assert before.dtype == after.dtype, field.name
            assert np.array_equal(before, after), field.name
        else:
            assert before == after, field.name


def test_file_holds_the_datasets_of_the_format(path):
    with h5py.File(path, "r") as file:
        assert sorted(required(file)) == sorted(DATASETS)
        assert file.attrs["format"] == "aiida-dmi-wannier-model"
        assert file.attrs["version"] == 1


def test_what_it_does_not_know_is_ignored(path):
    with h5py.File(path, "a") as file:
        file["projector_derivatives/0"] = np.zeros((3, 4))
        file.attrs["windows"] = [1.0, 2.0]
    assert WannierModel.load(path).attributes["windows"].tolist() == [1.0, 2.0]


def test_save_replaces_whole_files(small_model, path):
    dataclasses.replace(small_model, fermi_energy=1.25).save(path)
    assert WannierModel.load(path).fermi_energy == 1.25
    assert os.listdir(path.parent) == [path.name]


def test_a_failed_save_leaves_nothing(small_model, path):
    """An attribute that HDF5 cannot hold stops the writing half-way: the old file stays, no other appears."""
    before = path.read_bytes()
    broken = dataclasses.replace(small_model, attributes={"bad": object()})
    with pytest.raises(TypeError):
        broken.save(path)
    with pytest.raises(TypeError):
        broken.save(path.parent / "new.h5")
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == before


# -- files that are no model ---------------------------------------------------------------------------


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        WannierModel.load(path)
    message = str(caught.value)
    assert str(path) in message
    for word in words:
        assert word in message, message


def test_missing_file(tmp_path):
    refused(tmp_path / "nothing.h5", "HDF5")


def test_folder(tmp_path):
    refused(tmp_path, "HDF5")


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all\n" * 100])
def test_not_hdf5(tmp_path, content):
    (tmp_path / "model.h5").write_bytes(content)
    refused(tmp_path / "model.h5", "HDF5")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated_file(path, part):
    raw = path.read_bytes()
    path.write_bytes(raw[: int(part * len(raw))])
    refused(path, "HDF5")


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["cell"] = np.eye(3)
    refused(tmp_path / "model.h5", "format 'none'", "aiida-dmi-wannier-model")


@pytest.mark.parametrize(("attribute", "value"), [("format", "wannier-berri"), ("version", 2), ("version", "one")])
def test_wrong_format_or_version(path, attribute, value):
    with h5py.File(path, "a") as file:
        file.attrs[attribute] = value
    refused(path, str(value), "version 1 is expected")


# -- datasets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATASETS)
def test_missing_dataset(path, name):
    replace(path, name, None)
    refused(path, name)


@pytest.mark.parametrize("name", DATASETS)
def test_group_in_place_of_a_dataset(path, name):
    with h5py.File(path, "a") as file:
        del file[name]
        file.create_group(name)
    refused(path, name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", NUMBERS)
def test_not_finite(path, name, value):
    def spoil(array):
        array = np.array(array)
        array.flat[-1] = value
        return array

    change(path, name, spoil)
    # Both spins are one array of the model: its name without the spin is enough to find it.
    refused(path, name.removesuffix("_up").removesuffix("_down").removesuffix("/up").removesuffix("/down"), "finite")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("cell", np.s_[:2]),
        ("positions", np.s_[:1]),
        ("kpoints", np.s_[:, :2]),
        ("kpoints", np.s_[:-1]),
        ("centres/up", np.s_[:1]),
        ("centres/down", np.s_[:, :2]),
        ("hamiltonian/up", np.s_[:-1]),
        ("hamiltonian/down", np.s_[:, :1]),
        ("position/up", np.s_[:, :2]),
        ("overlap", np.s_[:, :1, :1]),
        ("overlap", np.s_[:-1]),
        ("spin_orbit/0/projections_up", np.s_[:, :2]),
        ("spin_orbit/1/projections_down", np.s_[:, :, :1]),
        ("spin_orbit/1/coupling", np.s_[:2]),
        ("spin_orbit/0/coupling", np.s_[:, :2, :2]),
        ("mesh", np.s_[:2]),
    ],
)
def test_wrong_shape(path, name, part):
    change(path, name, lambda array: array[part])
    refused(path)
    with pytest.raises(InputError, match=r"hamiltonian|kpoints|spin_orbit|" + name.split("/", maxsplit=1)[0]):
        WannierModel.load(path)


@pytest.mark.parametrize("name", [n for n in DATASETS if not n.endswith("coupling")])
@pytest.mark.parametrize("value", ["text", np.zeros(0), np.zeros((1, 1, 1, 1))])
def test_wrong_type(path, name, value):
    """Text, nothing or another rank in place of any dataset: InputError, never a bare traceback."""
    replace(path, name, value)
    refused(path)


@pytest.mark.parametrize("name", [n for n in DATASETS if n.endswith("coupling")])
def test_scalar_coupling(path, name):
    replace(path, name, 1.0)
    refused(path, name)


@pytest.mark.parametrize("periodic", [(True, False, True), (False, True, True)])
def test_film_in_another_plane(path, periodic):
    """The interpolation takes the first two lattice vectors for the film's."""
    replace(path, "periodic", np.array(periodic))
    refused(path, "periodic", "third lattice vector", "reorder")


@pytest.mark.parametrize("signature", [b"TREE", b"HEAP", b"SNOD"])
def test_hdf5_damaged_inside(path, signature):
    """h5py says RuntimeError, KeyError or OSError where the library stumbles over the file's structure."""
    content = path.read_bytes()
    assert signature in content
    path.write_bytes(content.replace(signature, b"\0\0\0\0"))
    refused(path, "HDF5")


def test_moments_need_one_number_an_atom(path):
    with h5py.File(path, "a") as file:
        file["moments"] = np.zeros(3)
    refused(path, "moments")


def test_missing_atom(path):
    replace(path, "spin_orbit/1", None)
    refused(path, "spin_orbit/1")


# -- physics -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hamiltonian/up", "hamiltonian/down", "position/up", "position/down"])
@pytest.mark.parametrize(("size", "accepted"), [(2e-6, False), (5e-7, True)])
def test_hermiticity_on_the_mesh(path, name, size, accepted):
    """1e-6 eV or Angstrom is the limit; the perturbation is real, so time reversal is not what refuses it."""

    def tilt(array):
        array[..., 0, 1] += size
        return array

    change(path, name, tilt)
    if accepted:
        WannierModel.load(path)
    else:
        refused(path, name.split("/", maxsplit=1)[0], "not Hermitian")


def test_hermiticity_of_the_coupling(path):
    def tilt(array):
        array[2, 0, 1] += 1e-5
        return array

    change(path, "spin_orbit/1/coupling", tilt)
    refused(path, "spin_orbit/1/coupling", "not Hermitian")


@pytest.mark.parametrize("name", ["hamiltonian", "position", "overlap"])
@pytest.mark.parametrize("size", [4e-4, 0.04, 0.06])
def test_time_reversal(small_model, name, size):
    """|X(-q) - X(q)*| of twice `size`: nothing below 1e-3, a warning above it, refused above 0.1."""
    broken = np.array(getattr(small_model, name))
    broken[..., 0, 1] += 1j * size
    broken[..., 1, 0] -= 1j * size
    arguments = {name: broken}
    if size < 5e-4:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = dataclasses.replace(small_model, **arguments)
    elif size < 0.05:
        with pytest.warns(UserWarning, match=f"{name} breaks time reversal"):
            model = dataclasses.replace(small_model, **arguments)
    else:
        with pytest.raises(InputError, match=f"{name} breaks time reversal"):
            dataclasses.replace(small_model, **arguments)
        return
    assert model.time_reversal_error == pytest.approx(2 * size, rel=1e-6)


@pytest.mark.parametrize(
    ("diagonal", "outcome"), [(0.97, "good"), (0.8, "warned"), (0.3, "refused"), (-1.0, "refused")]
)
def test_correspondence_of_the_two_spins(small_model, diagonal, outcome):
    overlap = np.array(small_model.overlap)
    overlap[:, 1, 1] = diagonal
    if outcome == "refused":
        with pytest.raises(InputError, match="do not correspond"):
            dataclasses.replace(small_model, overlap=overlap)
        return
    if outcome == "warned":
        with pytest.warns(UserWarning, match="do not correspond"):
            model = dataclasses.replace(small_model, overlap=overlap)
    else:
        model = dataclasses.replace(small_model, overlap=overlap)
    assert model.correspondence_error == pytest.approx(1 - diagonal)


def test_functions_in_another_order_do_not_correspond(small_model):
    """Function 1 of one spin is function 2 of the other: diag <up|down>(R = 0) is zero."""
    with pytest.raises(InputError, match="do not correspond"):
        dataclasses.replace(small_model, overlap=np.ascontiguousarray(small_model.overlap[:, ::-1]))


def test_function_in_another_cell_does_not_correspond(small_model):
    """The down function one cell further: <up|down>(q) is a phase, its R = 0 part zero."""
    overlap = np.array(small_model.overlap)
    overlap[:, 1, 1] *= np.exp(2j * np.pi * small_model.kpoints[:, 0])
    with pytest.raises(InputError, match="do not correspond"):
        dataclasses.replace(small_model, overlap=overlap)


@pytest.mark.parametrize(
    ("mesh", "spoil"),
    [
        ((3, 2, 1), None),
        ((9, 1, 1), None),
        ((0, 3, 1), None),
        ((3, 3, 1), "shifted"),
        ((3, 3, 1), "twice"),
    ],
)
def test_mesh_must_be_complete_and_unshifted(small_model, mesh, spoil):
    kpoints = np.array(small_model.kpoints)
    if spoil == "shifted":
        kpoints[:, 0] += 1 / 6
    if spoil == "twice":
        kpoints[4] = kpoints[5]
    with pytest.raises(InputError, match="mesh"):
        dataclasses.replace(small_model, mesh=mesh, kpoints=kpoints)


def test_kpoints_may_be_written_in_any_zone(small_model):
    """-1/3 is 2/3: Quantum ESPRESSO and Wannier90 fold differently."""
    kpoints = np.where(small_model.kpoints > 0.5, small_model.kpoints - 1, small_model.kpoints)
    model = dataclasses.replace(small_model, kpoints=kpoints)
    assert model.time_reversal_error < 1e-12


@pytest.mark.parametrize("electrons", [0.0, -1.0, 4.5])
def test_electrons_must_fit(small_model, electrons):
    with pytest.raises(InputError, match="electrons"):
        dataclasses.replace(small_model, electrons=electrons)


@pytest.mark.parametrize("periodic", [(True, False, False), (False, False, False)])
def test_a_film_or_a_bulk_magnet(small_model, periodic):
    with pytest.raises(InputError, match="periodic"):
        dataclasses.replace(small_model, periodic=np.array(periodic))


def test_film_normal_is_z(small_model):
    with pytest.raises(InputError, match="normal"):
        dataclasses.replace(small_model, cell=small_model.cell[[0, 2, 1]])


def test_flat_cell(small_model):
    cell = np.array(small_model.cell)
    cell[1] = 2 * cell[0]
    with pytest.raises(InputError, match="no volume"):
        dataclasses.replace(small_model, cell=cell)


def imaginary_part(array, size=0.06):
    array[..., 0, 1] += 1j * size
    array[..., 1, 0] -= 1j * size
    return array


def only_first_function(array):
    array[:, 1:] = 0
    return array


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("hamiltonian/up", imaginary_part, ["hamiltonian", "time reversal", "1.2e-01"]),
        ("position/down", imaginary_part, ["position", "time reversal", "1.2e-01"]),
        ("overlap", imaginary_part, ["overlap", "time reversal", "1.2e-01"]),
        ("overlap", only_first_function, ["do not correspond", "1.00"]),
        ("kpoints", lambda k: k + 0.1, ["kpoints", "mesh (3, 3, 1)", "unshifted"]),
        ("kpoints", lambda k: k + 1e154, ["kpoints", "mesh (3, 3, 1)", "unshifted"]),
        ("kpoints", lambda k: k + 1e308, ["kpoints", "mesh (3, 3, 1)", "unshifted"]),
        ("mesh", lambda m: m + 1, ["mesh (4, 4, 2)", "32", "9"]),
        ("electrons", lambda e: e + 10, ["electrons", "between 0 and 4"]),
        ("cell", lambda c: c * [[1, 1, 1], [1, 0, 1], [1, 1, 1]], ["cell", "no volume"]),
        ("periodic", lambda p: p & False, ["periodic", "two or three"]),
    ],
)
def test_broken_file_is_refused(path, name, spoil, words):
    """The checks on values as a user meets them: the file, the dataset and what was found, in one line."""
    change(path, name, spoil)
    refused(path, *words)
    with pytest.raises(InputError, match=r"\A[^\n]*\Z"):
        WannierModel.load(path)


# -- what it offers ------------------------------------------------------------------------------------


def test_area_and_dimension(copt11, small_model):
    assert copt11.dimension == 2
    assert copt11.area == pytest.approx(2.77185858**2 * np.sqrt(3) / 2)
    assert copt11.functions == 18
    assert copt11.atoms == 2
    assert small_model.area == pytest.approx(2.6 * 2.9)


def test_spin_orbit_blocks(film):
    """W_alpha = sum_a mask_a P^+ h_alpha P, and blocks between the spins use either spin's projections."""
    one = film(3)
    model = one.model((3, 3, 1))
    blocks = model.spin_orbit([1, 1])
    for block in range(3):
        np.testing.assert_allclose(
            blocks[block], np.broadcast_to(one.spin_orbit[:, None], blocks[block].shape), atol=1e-14
        )
    only_second = model.spin_orbit([0, 2])
    expected = 2 * one.projections[1].T @ one.coupling[1] @ one.projections[1]
    np.testing.assert_allclose(only_second[0, :, 4], expected, atol=1e-14)
    random = np.random.default_rng(0)
    projections = tuple(random.normal(size=p.shape) + 1j * random.normal(size=p.shape) for p in model.projections)
    blocks = dataclasses.replace(model, projections=projections).spin_orbit([1, 0.5])
    q, alpha = 4, 1
    for block, (s, t) in enumerate(((0, 0), (0, 1), (1, 1))):
        expected = sum(
            w * p[s, q].conj().T @ h[alpha] @ p[t, q]
            for w, p, h in zip((1, 0.5), projections, model.coupling, strict=True)
        )
        np.testing.assert_allclose(blocks[block, alpha, q], expected, atol=1e-12)


@pytest.mark.parametrize("mask", [[1], [1, 1, 1], [1, np.nan], 1.0])
def test_bad_mask(small_model, mask):
    with pytest.raises(InputError, match="soi_masks"):
        small_model.spin_orbit(mask)

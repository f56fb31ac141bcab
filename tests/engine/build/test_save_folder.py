"""pw.x's save folder: real runs, their wave functions in both forms of files, and all that is refused in one line.

The film is a hydrogen atom in 4 x 5 x 9 bohr (tests/data/hydrogen-film), half a second a run of the pw.x installed
(6.7). The HDF5 files are made from its Fortran files, in the layout of write_wfc, as read by scipy's FortranFile.
"""

import re
import shutil
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import FortranFile

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.build.quantum_espresso import SaveFolder

MAGNETIC = "nspin=2, starting_magnetization(1)=1.0"
POINTS = "crystal\n2\n0 0 0 0.5\n0.5 0.25 0 0.5"
FORMS = [".dat", ".hdf5"]


@pytest.fixture(scope="module")
def film(tmp_path_factory, data_folder, upf_folder, run):
    """Run pw.x for the film, film(system, points); its save folder."""
    pseudo = Pseudopotential.read(upf_folder / "H.UPF").scalar_relativistic().to_upf()
    text = (data_folder / "hydrogen-film" / "pw.in").read_text()
    assert MAGNETIC in text
    assert POINTS in text

    def finished(system=MAGNETIC, points=POINTS):
        folder = tmp_path_factory.mktemp("film")
        (folder / "H.UPF").write_text(pseudo)
        (folder / "pw.in").write_text(text.replace(MAGNETIC, system).replace(POINTS, points))
        assert "JOB DONE" in run(folder, "pw.x", ["-in", "pw.in"], ranks=1)
        return folder / "x.save"

    return finished


@pytest.fixture(scope="module")
def fortran(film):
    return film()


@pytest.fixture(scope="module")
def saves(tmp_path_factory, fortran):
    """One run's save folder in both forms."""
    folder = tmp_path_factory.mktemp("hdf5")
    shutil.copy(fortran / "data-file-schema.xml", folder)
    for path in fortran.glob("wfc*.dat"):
        write_hdf5(folder / f"{path.stem}.hdf5", records(path))
    return {".dat": fortran, ".hdf5": folder}


@pytest.fixture
def save(saves, tmp_path, request):
    """A copy to damage, of the form that the test asks for."""
    return Path(shutil.copytree(saves[request.param], tmp_path / "x.save"))


both_forms = pytest.mark.parametrize("save", FORMS, indirect=True)


def records(path: Path) -> dict:
    """A Fortran file by scipy's reader, under the names of write_wfc's variables."""
    with FortranFile(path) as file:
        ik, xk, ispin, gamma_only, scalef = file.read_record("<i4", ("<f8", 3), "<i4", "<i4", "<f8")
        ngw, igwx, npol, nbnd = file.read_ints("<i4")
        lattice = file.read_reals("<f8").reshape(3, 3)
        mill = file.read_ints("<i4").reshape(igwx, 3)
        evc = np.array([file.read_record("<c16") for _ in range(nbnd)])
    return {
        "ik": ik[0], "xk": np.ravel(xk), "ispin": ispin[0], "gamma_only": ".TRUE." if gamma_only[0] else ".FALSE.",
        "scale_factor": scalef[0], "ngw": ngw, "igwx": igwx, "npol": npol, "nbnd": nbnd,
        "lattice": lattice, "mill": mill, "evc": evc,
    }  # fmt: skip


def write_fortran(path: Path, content: dict, byte_order: str = "<") -> None:
    i4, f8 = f"{byte_order}i4", f"{byte_order}f8"

    def array(name: str, kind: str) -> np.ndarray:
        return np.atleast_1d(np.asarray(content[name], dtype=kind))

    logical = np.array([content["gamma_only"] == ".TRUE."], dtype=i4)
    with FortranFile(path, "w", header_dtype=f"{byte_order}u4") as file:
        file.write_record(array("ik", i4), array("xk", f8), array("ispin", i4), logical, array("scale_factor", f8))
        file.write_record(*(array(name, i4) for name in ("ngw", "igwx", "npol", "nbnd")))
        file.write_record(array("lattice", f8))
        file.write_record(array("mill", i4))
        for band in content["evc"]:
            file.write_record(band.astype(f"{byte_order}c16"))


def write_hdf5(path: Path, content: dict) -> None:
    """The layout of write_wfc under __HDF5: vectors as array types, text of fixed length, contiguous datasets."""
    vector = np.dtype(("<f8", (3,)))
    with h5py.File(path, "w") as file:
        for name in ("ik", "ispin", "ngw", "igwx", "npol", "nbnd"):
            file.attrs.create(name, content[name], dtype="<i4")
        file.attrs.create("xk", np.asarray(content["xk"]), shape=(3,), dtype=vector)
        file.attrs.create("gamma_only", np.bytes_(content["gamma_only"]))
        file.attrs.create("scale_factor", content["scale_factor"], dtype="<f8")
        miller = file.create_dataset("MillerIndices", data=content["mill"], dtype="<i4")
        for i in range(3):
            miller.attrs.create(f"bg{i + 1}", content["lattice"][i], shape=(3,), dtype=vector)
        file.create_dataset("evc", data=np.ascontiguousarray(content["evc"]).view(float), dtype="<f8")


def rewrite(save: Path, **changes) -> None:
    """Spin up at the second k point, written again with other content."""
    (path,) = save.glob("wfcup2.*")
    content = records_of(path) | changes
    (write_fortran if path.suffix == ".dat" else write_hdf5)(path, content)


def records_of(path: Path) -> dict:
    if path.suffix == ".dat":
        return records(path)
    with h5py.File(path) as file:
        content = dict(file.attrs) | {"gamma_only": file.attrs["gamma_only"].decode()}
        miller = file["MillerIndices"]
        content |= {"mill": miller[()], "lattice": np.array([miller.attrs[f"bg{i}"] for i in (1, 2, 3)])}
        return content | {"evc": file["evc"][()].view(complex)}


def refused(save: Path, words: str, spin: int = 0, k: int = 1) -> None:
    """The reader's InputError: one line with these words and the file's name."""
    with pytest.raises(InputError, match=words) as caught:
        SaveFolder.read(save).wave_functions(spin, k)
    message = str(caught.value)
    assert re.search(rf"^nscf: .*wfc{('up', 'dw')[spin]}{k + 1}\.", message)
    assert "\n" not in message
    assert len(message) < 500


def test_run_in_both_forms(saves):
    """Equal to the last bit, orthonormal, and no plane wave above the cut-off of 12 Ry."""
    fortran, hdf5 = (SaveFolder.read(saves[form]) for form in FORMS)
    for save in (fortran, hdf5):
        save.check_wave_functions()
    np.testing.assert_allclose(fortran.kpoints, [[0, 0, 0], [0.5, 0.25, 0]], atol=1e-12)
    for spin in range(2):
        for k in range(2):
            waves, same = fortran.wave_functions(spin, k), hdf5.wave_functions(spin, k)
            for name in ("kpoint", "miller", "coefficients", "reciprocal"):
                np.testing.assert_array_equal(getattr(waves, name), getattr(same, name))
            assert waves.coefficients.shape == (3, fortran.plane_waves[k])
            overlap = waves.coefficients.conj() @ waves.coefficients.T
            np.testing.assert_allclose(overlap, np.eye(3), atol=1e-10)
            kinetic = (waves.vectors**2).sum(axis=1)
            assert 11 < kinetic.max() <= 12
            np.testing.assert_array_equal(
                waves.coefficients, records(saves[".dat"] / f"wfc{('up', 'dw')[spin]}{k + 1}.dat")["evc"]
            )


def test_schema_of_two_versions(fortran, data_folder, tmp_path):
    """7.2's own file of the same run. Empty bands are converged loosely, and in a gap the Fermi energy is anybody's."""
    shutil.copy(data_folder / "hydrogen-film" / "data-file-schema-7.2.xml", tmp_path / "data-file-schema.xml")
    ours, other = SaveFolder.read(fortran), SaveFolder.read(tmp_path)
    for name in ("cell", "positions", "kpoints", "plane_waves", "electrons"):
        np.testing.assert_allclose(getattr(ours, name), getattr(other, name), atol=1e-12)
    np.testing.assert_allclose(ours.energies[..., :2], other.energies[..., :2], atol=1e-3)


def test_fermi_energy_for_each_spin(film):
    save = film(system="nspin=2, tot_magnetization=0.5")
    with pytest.raises(InputError, match=r"a Fermi energy for each spin, expected one.*tot_magnetization"):
        SaveFolder.read(save)


@pytest.mark.parametrize("system", ["nspin=1", "noncolin=.true., starting_magnetization(1)=1.0"])
def test_run_that_is_not_collinear_and_magnetic(film, system):
    with pytest.raises(InputError, match="not a collinear spin-polarised run; set nspin = 2"):
        SaveFolder.read(film(system=system))


def test_gamma_point_trick(film):
    save = film(points="gamma")
    refused(save, "Gamma-point trick; give the k points as an explicit list", k=0)
    write_hdf5(save / "wfcdw1.hdf5", records(save / "wfcdw1.dat"))
    (save / "wfcdw1.dat").unlink()
    refused(save, "Gamma-point trick", spin=1, k=0)


# --- which file


@both_forms
def test_missing_or_empty_file(save):
    (path,) = save.glob("wfcdw2.*")
    for damage in (path.unlink, path.touch):
        damage()
        with pytest.raises(InputError, match=r"wfcdw2\.dat is missing or empty .*\(k point 2 of 2\)"):
            SaveFolder.read(save).check_wave_functions()


@pytest.mark.parametrize("save", [".dat"], indirect=True)
def test_file_in_both_forms(save, saves):
    shutil.copy(saves[".hdf5"] / "wfcup1.hdf5", save)
    with pytest.raises(InputError, match=r"wfcup1\.dat and wfcup1\.hdf5 are both in .*older run"):
        SaveFolder.read(save).check_wave_functions()
    with pytest.raises(InputError, match=r"wfcup1\.dat and wfcup1\.hdf5 are both in"):
        SaveFolder.read(save).wave_functions(0, 0)


@both_forms
def test_folder_in_place_of_a_file(save):
    (path,) = save.glob("wfcup2.*")
    path.unlink()
    path.mkdir()
    refused(save, "missing or empty")


# --- files of something else


@both_forms
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ik": 1}, "holds k point 1, spin 1; 2, 1 expected"),
        ({"ispin": 2}, "holds k point 2, spin 2; 2, 1 expected"),
        ({"xk": [0.1, 0.2, 0.3]}, "its k point .* is not number 2 of data-file-schema.xml"),
        ({"xk": [np.nan, 0, 0]}, "numbers that are not finite"),
        ({"lattice": np.eye(3)}, "its reciprocal lattice is not that of data-file-schema.xml"),
        ({"lattice": np.full((3, 3), np.inf)}, "numbers that are not finite"),
        ({"npol": 2}, "npol = 2: a noncollinear run; set nspin = 2"),
        ({"scale_factor": 0.5}, "scale factor 0.5, expected 1"),
        ({"nbnd": 0, "evc": np.zeros((0, 130), complex)}, "0 bands of 130 plane waves"),
    ],
)
def test_header_of_another_run(save, changes, words):
    rewrite(save, **changes)
    refused(save, words)


@both_forms
def test_fewer_bands_or_plane_waves_than_the_run(save):
    (path,) = save.glob("wfcup2.*")
    content = records_of(path)
    rewrite(save, nbnd=2, evc=content["evc"][:2])
    refused(save, "2 bands of 130 plane waves, 3 of 130 expected")
    states = np.linalg.qr(content["evc"][:, :129].T)[0].T
    rewrite(save, igwx=129, nbnd=3, mill=content["mill"][:129], evc=states)
    refused(save, "3 bands of 129 plane waves, 3 of 130 expected")


# --- damaged content


@both_forms
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e200, 3.0, 0.2])
def test_band_that_is_none(save, value):
    """Zeros are what a disk that filled up leaves; a band of an ultrasoft run has no norm of 1."""
    (path,) = save.glob("wfcup2.*")
    states = records_of(path)["evc"].copy()
    states[1] = states[1] * value if value == 0.2 else value
    rewrite(save, evc=states)
    refused(save, "norm of band 2 is|numbers that are not finite|coefficients above 1")


@both_forms
def test_plane_wave_twice(save):
    (path,) = save.glob("wfcup2.*")
    miller = records_of(path)["mill"].copy()
    miller[50:60] = 0
    rewrite(save, mill=miller)
    refused(save, "same plane wave stands there twice")


@pytest.mark.parametrize("save", [".dat"], indirect=True)
def test_truncated_fortran_file(save):
    content = (path := save / "wfcup2.dat").read_bytes()
    for length in (1, 4, 40, 52, 60, 80, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(save, "truncated|bytes, expected")
    path.write_bytes(content + b"more")
    refused(save, f"{len(content) + 4} bytes, expected {len(content)} for 3 bands of 130 plane waves")


@pytest.mark.parametrize("save", [".hdf5"], indirect=True)
def test_truncated_hdf5_file(save):
    content = (path := save / "wfcup2.hdf5").read_bytes()
    for length in (1, 8, 96, 800, 2048, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(save, "cannot be read")


@pytest.mark.parametrize("save", [".dat"], indirect=True)
def test_fortran_file_of_another_machine(save):
    write_fortran(save / "wfcup2.dat", records(save / "wfcup2.dat"), byte_order=">")
    refused(save, "expected 44 .*little-endian with 4-byte lengths")


@pytest.mark.parametrize("save", [".dat"], indirect=True)
def test_form_under_the_other_name(save, saves):
    shutil.copy(saves[".hdf5"] / "wfcup2.hdf5", save / "wfcup2.dat")
    refused(save, "expected 44")
    (save / "wfcup2.dat").unlink()
    shutil.copy(saves[".dat"] / "wfcup2.dat", save / "wfcup2.hdf5")
    refused(save, "cannot be read")


@both_forms
@pytest.mark.parametrize("changes", [{"igwx": 2**31 - 1}, {"nbnd": 2**31 - 1}, {"igwx": 2**31 - 1, "nbnd": 2**31 - 1}])
def test_header_that_asks_for_all_memory(save, changes):
    rewrite(save, **changes)
    tracemalloc.start()
    try:
        refused(save, "bytes, expected|expected \\(")
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("save", [".hdf5"], indirect=True)
@pytest.mark.parametrize(
    "name", ["ik", "xk", "ispin", "gamma_only", "scale_factor", "igwx", "npol", "nbnd", "MillerIndices/bg2"]
)
def test_attribute_of_hdf5_file(save, name):
    """Missing, of another type, of another shape, too large."""
    place, _, attribute = name.rpartition("/")
    for value in (None, "word", np.zeros((2, 2)), 1j, np.bytes_(b"x" * 60000)):
        with h5py.File(save / "wfcup2.hdf5", "a") as file:
            del file[place or "/"].attrs[attribute]
            if value is not None:
                file[place or "/"].attrs[attribute] = value
        refused(save, f"attribute {attribute} ")
        with h5py.File(save / "wfcup2.hdf5", "a") as file:
            file[place or "/"].attrs[attribute] = 0


@pytest.mark.parametrize("save", [".hdf5"], indirect=True)
@pytest.mark.parametrize("name", ["MillerIndices", "evc"])
def test_dataset_of_hdf5_file(save, name):
    """Missing, a group, of another type or shape, or created and never written: HDF5 answers with zeros there."""
    path = save / "wfcup2.hdf5"
    with h5py.File(path) as file:
        good, attributes = file[name][()], dict(file[name].attrs)
    cases = {
        f"dataset {name} is missing": [lambda f: None, lambda f: f.create_group(name)],
        f"dataset {name} is .* expected": [
            lambda f: f.create_dataset(name, data=good.astype("f4")),
            lambda f: f.create_dataset(name, data=good[:-1]),
            lambda f: f.create_dataset(name, data="text"),
        ],
        f"dataset {name} was never written": [
            lambda f: f.create_dataset(name, shape=(2**20, 2**20), dtype=good.dtype),
            lambda f: f.create_dataset(name, shape=good.shape, dtype=good.dtype),
        ],
        f"dataset {name} is not stored whole": [
            lambda f: f.create_dataset(name, data=np.zeros_like(good), compression="gzip"),
        ],
    }
    for words, creations in cases.items():
        for create in creations:
            with h5py.File(path, "a") as file:
                if name in file:
                    del file[name]
                created = create(file)
                if created is not None:
                    created.attrs.update(attributes)
            refused(save, words)


@pytest.mark.parametrize("save", [".hdf5"], indirect=True)
def test_dataset_of_a_type_that_numpy_lacks(save):
    with h5py.File(save / "wfcup2.hdf5", "a") as file:
        del file["evc"]
        h5py.h5d.create(file.id, b"evc", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((3, 260)))
    refused(save, "dataset evc holds neither numbers nor texts")


# --- any bytes at all


def outcome(save: Path, path: Path, content: bytes) -> None:
    """Read, or refused in one line; any other exception fails the test."""
    path.write_bytes(content)
    try:
        norms = np.linalg.norm(SaveFolder.read(save).wave_functions(0, 1).coefficients, axis=1)
        lines = 1
    except InputError as refusal:
        norms, lines = np.ones(1), len(str(refusal).splitlines())
    np.testing.assert_allclose(norms, 1, atol=1e-3)
    assert lines == 1


ANY_BYTES = settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
changed_bytes = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=8)


def damaged(content: bytes, changes: list, start: int, stop: int) -> bytes:
    result = bytearray(content)
    for place, value in changes:
        result[start + place % (stop - start)] = value
    return bytes(result)


@both_forms
@given(content=st.binary(max_size=400))
@ANY_BYTES
def test_random_bytes(save, content):
    (path,) = save.glob("wfcup2.*")
    outcome(save, path, content)
    outcome(save, path, (b"\x89HDF\r\n\x1a\n" if path.suffix == ".hdf5" else b"\x2c\x00\x00\x00") + content)


@both_forms
@given(changes=changed_bytes)
@ANY_BYTES
def test_changed_bytes_of_wave_functions(save, saves, changes):
    """In the headers, where the sizes and addresses stand, rather than in the numbers."""
    (path,) = save.glob("wfcup2.*")
    content = (saves[path.suffix] / path.name).read_bytes()
    outcome(save, path, damaged(content, changes, 0, 3000 if path.suffix == ".hdf5" else 200))

"""Nscf runs on the irreducible points against pw.x's own on the complete mesh: arsenic-hydrogen films, seconds.

One without symmetry, one with threefold axis and mirrors (left-handed cell, two magnets), one of which a glide is all.
The numbers are those of no real material. What is compared does not depend on the phases that a diagonalisation leaves
open, nor on the basis in which it gives degenerate states.
"""

import dataclasses
import re
import shutil

import numpy as np
import pytest

from aiida_dmi.engine import InputError, compute
from aiida_dmi.engine.build import BuildSpec, Pseudopotential, build
from aiida_dmi.engine.build.completed import completed
from aiida_dmi.engine.build.irreducible import IDENTITY, film_operations, gamma_centred, reduced
from aiida_dmi.engine.build.overlaps import OverlapsSpec, write_overlaps
from aiida_dmi.engine.build.quantum_espresso import SaveFolder
from aiida_dmi.engine.kspace.interpolation import Interpolation

SPINS = ("up", "down")
SPARE = 2
"""Bands computed and not kept, for the highest converge worst; among as many more no degenerate ones are parted."""
DEGENERATE = 1e-5
"""eV."""


@dataclasses.dataclass(frozen=True)
class Film:
    """A film and what is asked of it: `kept` points of `mesh`, `count` operations."""

    cell: tuple
    atoms: tuple
    mesh: tuple
    kept: int
    count: int
    projections: str
    functions: int
    computed: int

    @property
    def kpoints(self):
        return gamma_centred(self.mesh)

    @property
    def elements(self):
        return tuple(dict.fromkeys(element for element, *_ in self.atoms))

    @property
    def operations(self):
        positions = [place for _, *place in self.atoms]
        kinds = [self.elements.index(element) for element, *_ in self.atoms]
        return film_operations(self.cell, positions, kinds)


FILMS = {
    "none": Film(
        ((3.1, 0, 0), (0.7, 3.4, 0), (0, 0, 5.5)),
        (("As", 0.05, 0.10, 0.40), ("H", 0.35, 0.62, 0.62)),
        (4, 3, 1), 7, 1, "As:s;p\nH:s", 5, 14,
    ),
    "threefold": Film(
        ((1.7, 2.9444863728670914, 0), (3.4, 0, 0), (0, 0, 5.5)),
        (("As", 0, 0, 0.40), ("H", 1 / 3, 1 / 3, 0.62)),
        (4, 4, 1), 4, 4, "As:s;p\nH:s", 5, 14,
    ),
    "glide": Film(
        ((3.2, 0, 0), (0, 4.0, 0), (0, 0, 5.0)),
        (("H", 0.15, 0.05, 0.40), ("H", 0.85, 0.55, 0.40)),
        (3, 4, 1), 6, 2, "H:s", 2, 10,
    ),
}  # fmt: skip
PW = """&control
 calculation='{calculation}', prefix='x', outdir='./out', pseudo_dir='.'
/
&system
 ibrav=0, nat={atoms}, ntyp={kinds}, ecutwfc=14, nbnd={bands}, occupations='smearing', smearing='mv', degauss=0.02
 nspin=2, {moments}, nosym={nosym}, noinv={nosym}
/
&electrons
 conv_thr=1e-5, electron_maxstep=200, diago_thr_init={threshold}, diago_full_acc=.true.
/
ATOMIC_SPECIES
{species}
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS crystal
{places}
K_POINTS {points}
"""
WIN = """num_bands={bands}
exclude_bands={outside}
num_wann={functions}
num_iter=0
dis_num_iter=0
dis_froz_max={window}
write_u_matrices=true
mp_grid={mesh}
begin projections
{projections}
end projections
begin unit_cell_cart
ang
{cell}
end unit_cell_cart
begin atoms_frac
{places}
end atoms_frac
begin kpoints
{points}
end kpoints
"""


def lines(rows):
    return "\n".join(" ".join(x if isinstance(x, str) else f"{x:.14f}" for x in row) for row in rows)


def pw_input(film, calculation, points):
    # The density is symmetric and one for both runs: only the bands have to be accurate.
    scf = calculation == "scf"
    return PW.format(
        calculation=calculation,
        atoms=len(film.atoms),
        kinds=len(film.elements),
        bands=film.computed,
        moments=", ".join(f"starting_magnetization({n + 1})=0.5" for n in range(len(film.elements))),
        nosym=".false." if scf else ".true.",
        threshold=1e-4 if scf else 1e-15,
        species="\n".join(f"{element} 1.0 {element}.UPF" for element in film.elements),
        cell=lines(film.cell),
        places=lines(film.atoms),
        points=points,
    )


def explicit(points, weights):
    rows = np.column_stack([points, weights])
    return f"crystal\n{len(rows)}\n{lines(rows)}"


@dataclasses.dataclass(frozen=True)
class Runs:
    """Of one density: the run on the complete mesh and that on the irreducible points, with what was made of them."""

    film: Film
    complete: object
    few: object
    operations: tuple
    bands: int
    fermi_energy: float
    summaries: dict

    def files(self, spin, suffix):
        return (folder / f"{spin}.{suffix}" for folder in (self.complete, self.few))


@pytest.fixture(scope="module", params=FILMS)
def runs(request, tmp_path_factory, upf_folder, run):
    film = FILMS[request.param]
    complete, few = (tmp_path_factory.mktemp(name) for name in ("complete", "few"))
    for element in film.elements:
        averaged = Pseudopotential.read(upf_folder / f"{element}.UPF").scalar_relativistic()
        (complete / f"{element}.UPF").write_text(averaged.to_upf())
    (complete / "scf.in").write_text(pw_input(film, "scf", f"automatic\n{' '.join(map(str, film.mesh))} 0 0 0"))
    output = run(complete, "pw.x", ["-in", "scf.in"], ranks=1)
    fermi_energy = float(re.findall(r"the Fermi energy is\s+(\S+) ev", output)[-1])
    shutil.copytree(complete, few, dirs_exist_ok=True)
    for file in (few / "out" / "x.save").glob("wfc*"):
        file.unlink()

    chosen = reduced(film.kpoints, film.operations)
    everything = np.ones(len(film.kpoints))
    for folder, points, weights in (
        (complete, film.kpoints, everything),
        (few, film.kpoints[chosen.kept], chosen.weights),
    ):
        (folder / "nscf.in").write_text(pw_input(film, "nscf", explicit(points, weights)))
        run(folder, "pw.x", ["-in", "nscf.in"], ranks=1)
    energies = SaveFolder.read(complete / "out" / "x.save").energies
    gaps = np.diff(energies, axis=-1).min(axis=(0, 1))[film.computed - 2 * SPARE - 1 : -SPARE]
    bands = film.computed - 2 * SPARE + int(gaps.argmax())

    summaries = {}
    for folder, operations in ((complete, ()), (few, chosen.operations)):
        for spin in SPINS:
            (folder / f"{spin}.win").write_text(
                WIN.format(
                    bands=bands,
                    outside=f"{bands + 1}-{film.computed}",
                    functions=film.functions,
                    window=fermi_energy - 2,
                    mesh=" ".join(map(str, film.mesh)),
                    projections=film.projections,
                    cell=lines(film.cell),
                    places=lines(film.atoms),
                    points=lines(film.kpoints),
                )
            )
            run(folder, "wannier90.x", ["-pp", spin], ranks=1)
            spec = OverlapsSpec(folder / "out" / "x.save", folder / f"{spin}.nnkp", spin, operations)
            summaries[folder, spin] = write_overlaps(spec, folder / spin)
            run(folder, "wannier90.x", [spin], ranks=1)
    return Runs(film, complete, few, chosen.operations, bands, fermi_energy, summaries)


@pytest.fixture(scope="module")
def saves(runs):
    """The save folders as they are on the disk, and the second one completed."""
    complete, few = (SaveFolder.read(folder / "out" / "x.save") for folder in (runs.complete, runs.few))
    return complete, few, completed(few, complete.kpoints, "list", runs.operations)


@pytest.fixture(scope="module")
def models(runs, upf_folder):
    """The two models."""
    files = {element: upf_folder / f"{element}.UPF" for element in runs.film.elements}

    def model(folder, operations):
        spec = BuildSpec(folder / "out" / "x.save", folder / "up", folder / "down", files, runs.fermi_energy)
        return build(dataclasses.replace(spec, operations=operations))

    return model(runs.complete, ()), model(runs.few, runs.operations)


def numbers(path, header_lines):
    return np.array(path.read_text().split("\n", header_lines)[-1].split(), dtype=float)


def projections(path, runs):
    """A(k) of the .amn file, shape (q, functions, bands)."""
    rows = numbers(path, 2).reshape(len(runs.film.kpoints), runs.film.functions, runs.bands, 5)
    return rows[..., 3] + 1j * rows[..., 4]


def overlaps(path, runs):
    """M(k, b) of the .mmn file, shape (pairs, bands, bands), second band first, and the heads (k, k', shift)."""
    rows = numbers(path, 2).reshape(-1, 5 + 2 * runs.bands**2)
    return rows[:, 5:].copy().view(complex).reshape(-1, runs.bands, runs.bands), rows[:, :5].astype(int)


def levels(energies):
    """Matrix (levels, bands) that sums over the states of each energy."""
    level = np.concatenate([[0], np.cumsum(np.diff(energies) > DEGENERATE)])
    return (level == np.arange(level[-1] + 1)[:, None]).astype(float)


# -- points --------------------------------------------------------------------------------------------


def test_points_that_are_computed(runs, saves):
    complete, few, found = saves
    assert (len(few.kpoints), len(runs.operations)) == (runs.film.kept, runs.film.count)
    np.testing.assert_allclose(found.kpoints, complete.kpoints, atol=1e-9)
    np.testing.assert_array_equal(found.plane_waves, complete.plane_waves)


def test_energies_are_those_of_the_complete_run(runs, saves):
    complete, _, found = saves
    for one, other in zip(found.energies, complete.energies, strict=True):
        np.testing.assert_allclose(one[:, : runs.bands], other[:, : runs.bands], rtol=0, atol=1e-8)


def test_fermi_energy_has_the_weights(saves):
    complete, few, _ = saves
    assert few.fermi_energy == pytest.approx(complete.fermi_energy, abs=1e-5)


def test_complete_folder_is_taken_as_it_is(runs, saves):
    assert completed(saves[0], runs.film.kpoints, "list", runs.operations) is saves[0]


def test_half_of_the_mesh_needs_no_operation(runs, saves):
    """As runs of earlier versions have it: what time reversal gives is not rotated."""
    complete, _, _ = saves
    kept = reduced(complete.kpoints).kept
    half = dataclasses.replace(
        complete,
        kpoints=complete.kpoints[kept],
        energies=complete.energies[:, kept],
        plane_waves=complete.plane_waves[kept],
    )
    found = completed(half, complete.kpoints, "list", runs.operations)
    assert found.images.operations == (IDENTITY,)
    np.testing.assert_allclose(found.kpoints, complete.kpoints, atol=1e-9)


def test_point_that_none_gives(runs, saves):
    other = np.concatenate([runs.film.kpoints, [[0.1, 0.2, 0.0]]])
    count = len(other)
    words = rf"^nnkp: its k point {count} of {count}, \(0.100000, 0.200000, 0.000000\), is not among the nscf's"
    with pytest.raises(InputError, match=words):
        completed(saves[1], other, "nnkp", runs.operations)


def test_files_of_the_stored_points_alone_are_asked_for(runs, saves, tmp_path):
    folder = tmp_path / "x.save"
    shutil.copytree(saves[1].folder, folder)
    found = completed(SaveFolder.read(folder), runs.film.kpoints, "list", runs.operations)
    found.check_wave_functions()
    last = len(runs.film.kpoints) - 1
    found.wave_function_file(1, last).unlink()
    with pytest.raises(InputError, match=rf"wfcdw\d\.dat is missing or empty .* of {runs.film.kept}\)"):
        found.check_wave_functions()
    with pytest.raises(InputError, match="is missing or empty"):
        found.wave_functions(1, last)


# -- states --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, -2, 1)])
def test_states_span_those_of_the_complete_run(runs, saves, shift):
    """Also where the list has k + S: then psi stays, and u changes by exp(-i S r)."""
    complete, few, _ = saves
    found = completed(few, complete.kpoints + np.array(shift), "list", runs.operations)
    for spin in range(2):
        for k in range(len(runs.film.kpoints)):
            theirs, ours = complete.wave_functions(spin, k), found.wave_functions(spin, k)
            np.testing.assert_allclose(ours.kpoint, (complete.kpoints[k] + shift) @ complete.reciprocal, atol=1e-9)
            place = {tuple(miller): g for g, miller in enumerate((ours.miller + np.array(shift)).tolist())}
            order = [place[tuple(miller)] for miller in theirs.miller.tolist()]
            np.testing.assert_allclose(ours.vectors[order], theirs.vectors, atol=1e-9)
            product = (theirs.coefficients.conj() @ ours.coefficients[:, order].T)[: runs.bands, : runs.bands]
            # Each level's states are pw.x's, up to a unitary matrix.
            level = levels(complete.energies[spin, k, : runs.bands])
            weights = level @ np.abs(product) ** 2 @ level.T
            np.testing.assert_allclose(weights, np.diag(level.sum(axis=1)), rtol=0, atol=1e-8)
            # So is their weight in each plane wave.
            own, other = (
                level @ np.abs(c[: runs.bands]) ** 2 for c in (theirs.coefficients, ours.coefficients[:, order])
            )
            np.testing.assert_allclose(other, own, rtol=0, atol=1e-8)


# -- files for Wannier90 -------------------------------------------------------------------------------


@pytest.mark.parametrize("spin", SPINS)
def test_overlaps_agree_up_to_the_gauge(runs, spin):
    energies = [numbers(path, 0) for path in runs.files(spin, "eig")]
    np.testing.assert_allclose(energies[1], energies[0], rtol=0, atol=1e-7)
    level = [levels(own) for own in energies[0].reshape(-1, runs.bands, 3)[..., 2]]
    (theirs, pairs), (ours, same_pairs) = (overlaps(path, runs) for path in runs.files(spin, "mmn"))
    np.testing.assert_array_equal(same_pairs, pairs)
    singular = [np.linalg.svd(m, compute_uv=False) for m in (theirs, ours)]
    np.testing.assert_allclose(singular[1], singular[0], rtol=0, atol=1e-8)
    for (k, other, *_), one, two in zip(pairs, theirs, ours, strict=True):
        expected, found = (level[other - 1] @ np.abs(m) ** 2 @ level[k - 1].T for m in (one, two))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    theirs, ours = (projections(path, runs) for path in runs.files(spin, "amn"))
    singular = [np.linalg.svd(a, compute_uv=False) for a in (theirs, ours)]
    np.testing.assert_allclose(singular[1], singular[0], rtol=0, atol=1e-8)
    for own, one, two in zip(level, theirs, ours, strict=True):
        np.testing.assert_allclose(np.abs(two) ** 2 @ own.T, np.abs(one) ** 2 @ own.T, rtol=0, atol=1e-8)


@pytest.mark.parametrize("spin", SPINS)
def test_conjugation_is_exact(runs, spin):
    """A(-k) = A(k)^* and M(-k, -b) = M(k, b)^*, to the files' twelve decimals; of two pw.x runs only in size."""
    if runs.film.count > 1:
        pytest.skip("the gauge of the image under an operation is not that of -k")
    theirs, found = (projections(path, runs) for path in runs.files(spin, "amn"))
    kpoints = runs.film.kpoints
    negative = [int(np.abs((kpoints + k + 1e-9) % 1 - 1e-9).sum(axis=1).argmin()) for k in kpoints]
    pairs = [(k, minus) for k, minus in enumerate(negative) if minus > k]
    assert len(pairs) == 5
    for k, minus in pairs:
        np.testing.assert_allclose(found[minus], found[k].conj(), rtol=0, atol=2e-12)
    assert max(np.abs(theirs[minus] - theirs[k].conj()).max() for k, minus in pairs) > 0.1
    blocks, heads = overlaps(runs.few / f"{spin}.mmn", runs)

    def step(head):
        return kpoints[head[1] - 1] + head[2:] - kpoints[head[0] - 1]

    def key(k, vector):
        return (k, *np.rint(vector * 12).astype(int))

    block_of = {key(head[0] - 1, step(head)): block for head, block in zip(heads, blocks, strict=True)}
    for head, block in zip(heads, blocks, strict=True):
        k, other = head[0] - 1, head[1] - 1
        if k != negative[k] and other != negative[other]:
            reverse = block_of[key(negative[k], -step(head))]
            np.testing.assert_allclose(reverse, block.conj(), rtol=0, atol=2e-12)


def test_summary_says_what_was_made(runs):
    for spin in SPINS:
        complete, few = (runs.summaries[folder, spin] for folder in (runs.complete, runs.few))
        assert (complete.computed, complete.operations, complete.symmetry_residual) == (len(runs.film.kpoints), 0, 0)
        assert (few.computed, few.operations, few.kpoints) == (
            runs.film.kept, runs.film.count - 1, len(runs.film.kpoints),
        )  # fmt: skip
        assert few.symmetry_residual < 1e-4


# -- operations that are none --------------------------------------------------------------------------


def test_operations_of_another_film_are_refused(runs, saves):
    foreign = {"none": "threefold", "threefold": "glide", "glide": "threefold"}[request_name(runs.film)]
    others = FILMS[foreign].operations[1:]
    with pytest.raises(InputError, match=r"^operations: entry 1, .*, does not keep the nscf's cell and atoms"):
        completed(saves[1], saves[0].kpoints, "list", others)


def request_name(film):
    return next(name for name, other in FILMS.items() if other is film)


def test_density_without_the_symmetry_is_refused(runs, saves):
    """Kinds that differ by their moments alone, told to be one: atoms are kept, the states say otherwise."""
    few = saves[1]
    if runs.film.count == 1:
        pytest.skip("there is no operation")
    turned = dataclasses.replace(saves[2], stored=Mixed(**vars(few) | {"folder": few.folder}))
    with pytest.raises(InputError, match=r"^operations: the nscf's states at \(0.000000, .* break .* eV, expected"):
        turned.symmetry_residual(0)


class Mixed(SaveFolder):
    """States of two energies mixed, as a field would: 1 % of the second in the first, and orthogonal."""

    def wave_functions(self, spin, k):
        waves = super().wave_functions(spin, k)
        turned = waves.coefficients.copy()
        generator = np.random.default_rng(5).normal(size=(len(turned), len(turned)))
        turn = np.linalg.qr(np.eye(len(turned)) + 0.01 * (generator - generator.T))[0]
        return dataclasses.replace(waves, coefficients=turn @ turned)


# -- models --------------------------------------------------------------------------------------------


def test_models_have_the_same_bands(models):
    complete, few = models
    np.testing.assert_allclose(few.kpoints, complete.kpoints, atol=1e-9)
    assert few.electrons == pytest.approx(complete.electrons, abs=1e-9)
    np.testing.assert_allclose(few.moments, complete.moments, atol=1e-6)
    path = np.linspace([0.03, 0.0, 0.0], [0.41, 0.37, 0.0], 7)
    bands = [np.linalg.eigvalsh(Interpolation(model).operators(path).hamiltonian) for model in models]
    np.testing.assert_allclose(bands[1], bands[0], rtol=0, atol=1e-7)


def test_models_have_the_same_tensors(runs, models):
    """The Wannier functions do not depend on the states' gauge, so neither do the tensors."""
    if runs.film.elements == ("H",):
        pytest.skip("hydrogen has no spin-orbit interaction")
    tensors = [compute(model, 12, temperatures=[1500.0], fermi_level="dft") for model in models]
    for name in ("D", "Q", "D_1", "Q_1", "a_I", "a_II"):
        expected, found = (tensor[name].values for tensor in tensors)
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * scale, err_msg=name)


def test_time_reversal_of_the_functions(runs, models):
    """Broken by the diagonalisation alone; where time reversal gives the points, at those that are their own image."""
    complete, few = (model.time_reversal_error for model in models)
    assert max(complete, few) < 1e-6
    assert runs.film.count > 1 or few <= complete


def test_model_says_how_it_was_made(runs, models):
    complete, few = (model.attributes for model in models)
    assert complete["nscf_kpoints"] == len(runs.film.kpoints)
    assert "nscf_operations" not in complete
    assert few["nscf_kpoints"] == runs.film.kept
    if runs.film.count > 1:
        assert few["nscf_operations"].count("rotation") == runs.film.count - 1
        assert few["nscf_symmetry_residual"] < 1e-4

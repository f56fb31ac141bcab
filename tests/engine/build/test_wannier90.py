"""Wannier90's files: synthetic ones read back exactly, broken ones refused, positions of Gaussians found again."""

import dataclasses
import itertools

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build.wannier90 import Channel, Gradient, neighbour_vectors, position_matrices, wannier_centres
from aiida_dmi.engine.kspace.images import nearest_images

CELL = np.diag([3.0, 3.4, 9.0])
SUFFIXES = [".win", ".wout", ".eig", ".mmn", "_u.mat", "_u_dis.mat"]


# -- synthetic runs ------------------------------------------------------------------------------------


def neighbours_of(kpoints, mesh):
    """The six nearest neighbours of every k point of an orthorhombic mesh: index of q + b and reciprocal vector."""
    index = {tuple(np.rint(k * mesh).astype(int)): i for i, k in enumerate(kpoints)}
    neighbours, shifts = [], []
    for k in kpoints:
        here = np.rint(k * mesh).astype(int)
        there = [here + sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (1, -1)]
        shifts.append([t // mesh for t in there])
        neighbours.append([index[tuple(t % mesh)] for t in there])
    return np.array(neighbours), np.array(shifts)


def random_unitary(random, *shape):
    return np.linalg.qr(random.normal(size=shape) + 1j * random.normal(size=shape))[0]


def write_matrices(path, kpoints, matrices):
    """_u.mat and _u_dis.mat: rows run fastest."""
    _, rows, columns = matrices.shape
    lines = ["written by a test", f"{len(kpoints)} {columns} {rows}"]
    for k, matrix in zip(kpoints, matrices, strict=True):
        lines += ["", " ".join(f"{x:.10f}" for x in k)]
        lines += [f"{z.real:.17e} {z.imag:.17e}" for z in matrix.T.ravel()]
    path.write_text("\n".join(lines) + "\n")


@dataclasses.dataclass
class Run:
    """One synthetic wannier90.x run and what its files should be read as."""

    seed: object
    kpoints: np.ndarray
    gauge: np.ndarray
    energies: np.ndarray
    overlaps: np.ndarray
    neighbours: np.ndarray
    shifts: np.ndarray
    kept: np.ndarray


def synthetic(folder, bands=3, functions=3, mesh=(2, 2, 1), excluded=""):
    """Write the files of a run; with bands > functions the lowest band is outside the window at some k points."""
    random = np.random.default_rng(bands)
    mesh = np.array(mesh)
    kpoints = np.stack(np.indices(mesh), axis=-1).reshape(-1, 3) / mesh
    points = len(kpoints)
    energies = np.sort(random.uniform(-4, 4, (points, bands)), axis=1)
    window = ""
    gauge = random_unitary(random, points, functions, functions)
    seed = folder / "up"
    write_matrices(folder / "up_u.mat", kpoints, gauge)
    if bands > functions:
        energies[::2, 0] = -9.0  # below the window: the rows of _u_dis.mat start at the second band there
        window = "dis_win_min = -5.0 ! eV\ndis_win_max : 1.0d1\n"
        subspace = np.zeros((points, bands, functions), dtype=complex)
        in_file = np.zeros_like(subspace)
        for q in range(points):
            first = int(energies[q, 0] < -5)
            own = random_unitary(random, bands - first, functions)
            subspace[q, first:], in_file[q, : bands - first] = own, own
        write_matrices(folder / "up_u_dis.mat", kpoints, in_file)
        gauge = subspace @ gauge
    neighbours, shifts = neighbours_of(kpoints, mesh)
    shape = (points, 6, bands, bands)
    overlaps = random.normal(size=shape) + 1j * random.normal(size=shape)
    first = [int(x) for x in excluded.replace("-", ",").split(",") if x]
    total = bands + (len(range(first[0], first[1] + 1)) if first else 0)
    kept = np.setdiff1d(np.arange(total), np.arange(first[0] - 1, first[1]) if first else [])
    exclude = f"exclude_bands = {excluded}\n" if excluded else ""
    (folder / "up.win").write_text(f"num_bands = {bands}\n{window}{exclude}Num_Wann = {functions}\n")
    rows = [f"{b + 1} {q + 1} {energies[q, b]:.15f}" for q in range(points) for b in range(bands)]
    (folder / "up.eig").write_text("\n".join(rows) + "\n")
    lines = ["written by a test", f"{bands} {points} 6"]
    for q, b in itertools.product(range(points), range(6)):
        lines.append(" ".join(map(str, [q + 1, neighbours[q, b] + 1, *shifts[q, b]])))
        lines += [f"{z.real:.17e} {z.imag:.17e}" for z in overlaps[q, b].T.ravel()]
    (folder / "up.mmn").write_text("\n".join(lines) + "\n")
    state = "".join(
        f"  WF centre and spread {n + 1:4d}  ( {0.1 * n:9.6f}, {-0.2 * n:9.6f},  1.250000 )  {1 + n:.8f}\n"
        for n in range(functions)
    )
    (folder / "up.wout").write_text(
        f" Initial State\n{state.replace('1.250000', '7.000000')}\n Final State\n{state}\n"
        " All done: wannier90 exiting\n"
    )
    return Run(seed, kpoints, gauge, energies, overlaps, neighbours, shifts, kept)


@pytest.fixture(params=["isolated", "disentangled"])
def run(request, tmp_path):
    return synthetic(tmp_path) if request.param == "isolated" else synthetic(tmp_path, bands=5, excluded="2-4")


@pytest.fixture
def disentangled(tmp_path):
    return synthetic(tmp_path, bands=5)


def test_files_are_read_as_they_were_written(run):
    channel = Channel.read(run.seed)
    np.testing.assert_allclose(channel.gauge, run.gauge, atol=1e-14)
    np.testing.assert_allclose(channel.energies, run.energies, atol=1e-14)
    np.testing.assert_allclose(channel.overlaps, run.overlaps, atol=1e-14)
    np.testing.assert_array_equal(channel.neighbours, run.neighbours)
    np.testing.assert_array_equal(channel.shifts, run.shifts)
    np.testing.assert_array_equal(channel.kept, run.kept)
    np.testing.assert_allclose(channel.kpoints, run.kpoints)
    np.testing.assert_allclose(channel.centres, [[0, 0, 1.25], [0.1, -0.2, 1.25], [0.2, -0.4, 1.25]])
    np.testing.assert_allclose(channel.spreads, [1, 2, 3])


def test_wannier_gauge(run):
    """Hbar = U^+ E U has the energies as its eigenvalues where nothing is cut off; M in the gauge U^+(q) M U(q + b)."""
    channel = Channel.read(run.seed)
    hamiltonian = channel.hamiltonian()
    by_hand = [u.conj().T @ np.diag(e) @ u for u, e in zip(run.gauge, run.energies, strict=True)]
    np.testing.assert_allclose(hamiltonian, by_hand, atol=1e-13)
    if run.gauge.shape[1] == run.gauge.shape[2]:
        np.testing.assert_allclose(np.linalg.eigvalsh(hamiltonian), run.energies, atol=1e-12)
    overlaps = channel.wannier_overlaps()
    q, b = 2, 3
    expected = run.gauge[q].conj().T @ run.overlaps[q, b] @ run.gauge[run.neighbours[q, b]]
    np.testing.assert_allclose(overlaps[q, b], expected, atol=1e-13)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("1-2", [2, 3, 4]), ("2, 4", [0, 2, 4]), ("1, 3-3", [1, 3, 4]), ("4-5 ! semicore", [0, 1, 2])],
)
def test_excluded_bands(tmp_path, text, kept):
    run = synthetic(tmp_path)
    with (tmp_path / "up.win").open("a") as file:
        file.write(f"exclude_bands : {text}\n")
    np.testing.assert_array_equal(Channel.read(run.seed).kept, kept)


# -- broken files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fault", ["missing", "empty", "blank", "garbage", "binary", "a folder"])
def test_useless_file(disentangled, tmp_path, suffix, fault):
    """The message names the file."""
    path = tmp_path / f"up{suffix}"
    path.unlink()
    content = {
        "empty": b"",
        "blank": b"\n \n",
        "garbage": b"one two\nthree\nfour five\n" * 9,
        "binary": bytes(range(256)) * 9,
    }
    if fault == "a folder":
        path.mkdir()
    elif fault != "missing":
        path.write_bytes(content[fault])
    with pytest.raises(InputError) as caught:
        Channel.read(disentangled.seed)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.8, 0.95, "last line"])
def test_truncated_file(disentangled, tmp_path, suffix, part):
    """Cut after a line: a disk that was full, a job that ran out of time."""
    path = tmp_path / f"up{suffix}"
    lines = path.read_text().splitlines(keepends=True)
    count = len(lines) - 1 if part == "last line" else max(1, int(part * len(lines)))
    path.write_text("".join(lines[:count]))
    with pytest.raises(InputError):
        Channel.read(disentangled.seed)


@pytest.mark.parametrize(
    ("suffix", "token"),
    [(suffix, token) for suffix in SUFFIXES for token in ("abc", "****", "-7", "0", "99999999", "1e300", "nan", "2.5")],
)
def test_spoiled_token(disentangled, tmp_path, suffix, token):
    """One token of the file replaced, anywhere: read or refused, never another exception."""
    path = tmp_path / f"up{suffix}"
    original = path.read_text()
    places = original.split(" ")
    random = np.random.default_rng(len(token))
    refused = 0
    for place in random.choice(len(places), min(len(places), 25), replace=False):
        path.write_text(" ".join([*places[:place], token, *places[place + 1 :]]))
        try:
            Channel.read(disentangled.seed)
        except InputError:
            refused += 1
    if token == "abc" and suffix in (".eig", ".mmn", "_u.mat", "_u_dis.mat"):
        assert refused > 0


@pytest.mark.parametrize("suffix", [".eig", ".mmn", "_u.mat", "_u_dis.mat"])
def test_not_finite_head(disentangled, tmp_path, suffix):
    """NaN where a count or an index stands."""
    path = tmp_path / f"up{suffix}"
    lines = path.read_text().splitlines()
    line = 0 if suffix == ".eig" else 1
    lines[line] = " ".join(["nan", *lines[line].split()[1:]])
    path.write_text("\n".join(lines))
    with pytest.raises(InputError):
        Channel.read(disentangled.seed)


def test_window_that_is_no_number(disentangled, tmp_path):
    path = tmp_path / "up.win"
    path.write_text(path.read_text().replace("-5.0", "low"))
    with pytest.raises(InputError, match=r"up\.win"):
        Channel.read(disentangled.seed)


def test_centres_of_two_numbers(tmp_path):
    run = synthetic(tmp_path)
    path = tmp_path / "up.wout"
    path.write_text(path.read_text().replace(",  1.250000 )", " )"))
    with pytest.raises(InputError, match=r"up\.wout"):
        Channel.read(run.seed)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("suffix", [".eig", ".mmn", "_u.mat", "_u_dis.mat"])
def test_not_finite_value(disentangled, tmp_path, suffix, value):
    """A diverged run: the last number of a file is no number."""
    path = tmp_path / f"up{suffix}"
    lines = path.read_text().rstrip().splitlines()
    lines[-1] = " ".join([*lines[-1].split()[:-1], value])
    path.write_text("\n".join(lines))
    with pytest.raises(InputError):
        Channel.read(disentangled.seed)


def test_unfinished_run(run, tmp_path):
    path = tmp_path / "up.wout"
    path.write_text(path.read_text().replace("All done", "Exiting......."))
    with pytest.raises(InputError, match=r"up\.wout.*stopped early"):
        Channel.read(run.seed)


def test_gauge_must_be_unitary(tmp_path):
    run = synthetic(tmp_path)
    write_matrices(tmp_path / "up_u.mat", run.kpoints, 1.001 * run.gauge)
    with pytest.raises(InputError, match="not unitary"):
        Channel.read(run.seed)


def test_window_of_another_run(disentangled, tmp_path):
    """With another window the rows of _u_dis.mat do not fit the bands inside: what is left is no subspace."""
    path = tmp_path / "up.win"
    path.write_text(path.read_text().replace("dis_win_min = -5.0", "dis_win_min = -0.5"))
    with pytest.raises(InputError, match="not unitary"):
        Channel.read(disentangled.seed)


@pytest.mark.parametrize("suffix", [".eig", ".mmn", "_u.mat", "_u_dis.mat"])
def test_file_of_another_run(disentangled, tmp_path_factory, suffix):
    """One file of a run with another number of k points."""
    other = tmp_path_factory.mktemp("other")
    synthetic(other, bands=5, mesh=(3, 2, 1))
    (disentangled.seed.parent / f"up{suffix}").write_text((other / f"up{suffix}").read_text())
    with pytest.raises(InputError):
        Channel.read(disentangled.seed)


def test_matrices_that_are_not_square(disentangled, tmp_path):
    """An isometry passes for unitary where its rows are not counted."""
    random = np.random.default_rng(0)
    isometry = random_unitary(random, len(disentangled.kpoints), 5, 3)
    write_matrices(tmp_path / "up_u.mat", disentangled.kpoints, isometry)
    with pytest.raises(InputError, match=r"up_u\.mat.*\(3, 3\)"):
        Channel.read(disentangled.seed)


@pytest.mark.parametrize("number", ["0", "-1", "5", "99", "1.5", "1e7"])
def test_neighbour_that_is_no_k_point(tmp_path, number):
    """Index 0 would be the last k point."""
    run = synthetic(tmp_path)
    path = tmp_path / "up.mmn"
    lines = path.read_text().splitlines()
    here, _, *shift = lines[2].split()
    lines[2] = " ".join([here, number, *shift])
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=rf"up\.mmn.*{here} {number[:2]}.*from 1 to 4"):
        Channel.read(run.seed)


def test_energies_out_of_order(disentangled, tmp_path):
    path = tmp_path / "up.eig"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(InputError, match=r"up\.eig.*not in order"):
        Channel.read(disentangled.seed)


def test_more_bands_excluded_than_there_can_be(tmp_path):
    run = synthetic(tmp_path)
    with (tmp_path / "up.win").open("a") as file:
        file.write("exclude_bands : 1-99999999999999\n")
    with pytest.raises(InputError, match=r"up\.win.*exclude_bands"):
        Channel.read(run.seed)


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_centre_that_is_not_finite(tmp_path, value):
    run = synthetic(tmp_path)
    path = tmp_path / "up.wout"
    path.write_text(path.read_text().replace("1.250000", value))
    with pytest.raises(InputError, match=r"up\.wout.*not finite"):
        Channel.read(run.seed)


# -- neighbours, centres and positions -----------------------------------------------------------------


def gaussian_overlaps(centres, kinds, exponent, vectors, cartesian):
    """<0i|exp(-ib.(r - R))|Rj> of s and p_x Gaussians: shape (R, b, n, n).

    s = (2a/pi)^(3/4) exp(-a |r - c|^2), p_x = (1/sqrt a) ds/dc_x, so with d = R + c_j - c_i
    <s|exp(-ibr)|s> = S = exp(-a d^2/2 - ib.(c_i + c_j + R)/2 - b^2/8a), and p's follow by derivatives.
    """
    a, n = exponent, len(centres)
    result = np.zeros((len(cartesian), len(vectors), n, n), dtype=complex)
    for i, j in itertools.product(range(n), repeat=2):
        d = cartesian + centres[j] - centres[i]
        middle = cartesian / 2 + (centres[i] + centres[j]) / 2
        s = np.exp(-a * (d**2).sum(axis=1) / 2)[:, None] * np.exp(-1j * middle @ vectors.T)
        s = s * np.exp(-(vectors**2).sum(axis=1) / (8 * a))[None]
        bra, ket = a * d[:, :1] - 0.5j * vectors[None, :, 0], -a * d[:, :1] - 0.5j * vectors[None, :, 0]
        factor = {"ss": 1.0, "ps": bra / np.sqrt(a), "sp": ket / np.sqrt(a), "pp": (a + bra * ket) / a}
        result[:, :, i, j] = factor[kinds[i] + kinds[j]] * s
    return result * np.exp(1j * cartesian @ vectors.T)[:, :, None, None]


def gaussian_channel(mesh, centres, kinds, exponent=1.5):
    """A run whose Wannier functions are those Gaussians (on an identity gauge)."""
    kpoints = np.stack(np.indices(mesh), axis=-1).reshape(-1, 3) / np.array(mesh)
    neighbours, shifts = neighbours_of(kpoints, np.array(mesh))
    n = len(centres)
    gauge = np.broadcast_to(np.eye(n, dtype=complex), (len(kpoints), n, n))
    empty = np.zeros((len(kpoints), 6, n, n), dtype=complex)
    energies = np.zeros((len(kpoints), n))
    channel = Channel(gauge, energies, np.arange(n), neighbours, shifts, empty, kpoints, centres, np.zeros(n))
    vectors, _ = neighbour_vectors(channel, CELL)
    images, share = nearest_images(CELL, mesh, centres)
    lattice = gaussian_overlaps(centres, kinds, exponent, vectors[0], images @ CELL) * share[:, None]
    overlaps = np.tensordot(np.exp(2j * np.pi * kpoints @ images.T), lattice, axes=1)
    return dataclasses.replace(channel, overlaps=overlaps), images, share


def positions(channel, images, share, spoil_order=False):
    if spoil_order:
        order = np.array([np.random.default_rng(q).permutation(6) for q in range(len(channel.kpoints))])
        rows = np.arange(len(order))[:, None]
        channel = dataclasses.replace(
            channel,
            neighbours=channel.neighbours[rows, order],
            shifts=channel.shifts[rows, order],
            overlaps=channel.overlaps[rows, order],
        )
    gradient = Gradient.of(channel, CELL)
    return gradient.centres, position_matrices(gradient, channel.kpoints, CELL, images, share)


CENTRES = np.array([[0.1, 0.2, 1.0], [0.1, 0.2, 1.0], [1.4, 1.9, 2.5]])
KINDS = "sps"


def test_neighbour_weights():
    """sum_b w_b b b = 1, for an orthorhombic cell w = 1/(2 b^2)."""
    channel, _, _ = gaussian_channel((4, 5, 1), CENTRES, KINDS)
    vectors, weights = neighbour_vectors(channel, CELL)
    np.testing.assert_allclose(weights, 1 / (2 * (vectors**2).sum(axis=-1)), rtol=1e-10)
    np.testing.assert_allclose(np.einsum("qb,qbi,qbj->qij", weights, vectors, vectors), [np.eye(3)] * 20, atol=1e-10)


def test_incomplete_neighbours_are_refused():
    channel, _, _ = gaussian_channel((4, 5, 1), CENTRES, KINDS)
    part = dataclasses.replace(
        channel, neighbours=channel.neighbours[:, :4], shifts=channel.shifts[:, :4], overlaps=channel.overlaps[:, :4]
    )
    with pytest.raises(InputError, match="neighbours"):
        neighbour_vectors(part, CELL)


def test_other_neighbours_at_one_point_are_refused():
    channel, _, _ = gaussian_channel((4, 5, 1), CENTRES, KINDS)
    shifts = np.array(channel.shifts)
    shifts[3, 0, 1] += 1
    with pytest.raises(InputError, match="neighbours"):
        Gradient.of(dataclasses.replace(channel, shifts=shifts), CELL)


def test_centres():
    """The phase of <W|exp(-ib.r)|W> is -b.c for a function symmetric about c."""
    channel, _, _ = gaussian_channel((4, 5, 1), CENTRES, KINDS)
    vectors, weights = neighbour_vectors(channel, CELL)
    # p's overlap 1 - b^2/4a stays positive for these b
    np.testing.assert_allclose(wannier_centres(channel.overlaps, vectors[0], weights[0]), CENTRES, atol=1e-3)


@pytest.mark.parametrize(("exponent", "error"), [(1.5, 0.004), (0.5, 0.012)])
def test_positions_of_gaussians(exponent, error):
    """<0i|r - x|Rj> from the midpoint x: e_x/(2 sqrt a) exp(-a d^2/2) between s and p_x, 0 between equal ones.

    The finite difference is right to b^2/8a: four times better on a mesh twice as fine; along z (one k point) b is
    fixed, but nothing has a dipole along z. The wider Gaussians (5 Angstrom across) have dipoles between cells, where
    a phase that is not the midpoint's would cost (b R)^2/2 = 0.5.
    """
    errors = []
    for points in (6, 12):
        channel, images, share = gaussian_channel((points, points, 1), CENTRES, KINDS, exponent)
        centres, found = positions(channel, images, share)
        cartesian = images @ CELL
        exact = np.zeros((len(images), 3, 3, 3), dtype=complex)
        for i, j in ((0, 1), (1, 0), (1, 2), (2, 1)):
            d = cartesian + CENTRES[j] - CENTRES[i]
            exact[:, 0, i, j] = np.exp(-exponent * (d**2).sum(axis=1) / 2) / (2 * np.sqrt(exponent))
        exact = exact * share[:, None]
        home = np.flatnonzero((images == 0).all(axis=1))[0]
        exact[home][:, np.arange(3), np.arange(3)] = centres.T
        expected = np.tensordot(np.exp(2j * np.pi * channel.kpoints @ images.T), exact, axes=1)
        errors.append(np.abs(found - expected).max())
        assert np.abs(found[:, 0, 0, 1]).max() > 0.3
    assert errors[1] < error
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)


def test_positions_are_hermitian_and_even_in_time():
    channel, images, share = gaussian_channel((4, 5, 1), CENTRES, KINDS)
    _, found = positions(channel, images, share)
    np.testing.assert_allclose(found, found.conj().swapaxes(-1, -2), atol=1e-13)
    index = {tuple(np.rint(k * (4, 5, 1)).astype(int)): i for i, k in enumerate(channel.kpoints)}
    opposite = [index[tuple(np.rint(-k * (4, 5, 1)).astype(int) % (4, 5, 1))] for k in channel.kpoints]
    np.testing.assert_allclose(found[opposite], found.conj(), atol=1e-12)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.7), (0.4, -0.3, 2.0)])
def test_rigid_shift_only_adds_itself(shift):
    """Where the slab sits in the cell is a choice: A + s exactly, the off-diagonal elements untouched.

    The centres' finite differences see the shift too, so it is taken from them (equal to 1e-12).
    """
    here, images, share = gaussian_channel((4, 5, 1), CENTRES, KINDS)
    there, _, _ = gaussian_channel((4, 5, 1), CENTRES + shift, KINDS)
    centres, found = positions(here, images, share)
    moved_centres, moved = positions(there, images, share)
    np.testing.assert_allclose(moved_centres - centres, np.broadcast_to(shift, (3, 3)), atol=1e-10)
    np.testing.assert_allclose(
        moved - found, np.broadcast_to(np.array(shift)[:, None, None] * np.eye(3), found.shape), atol=1e-10
    )


def test_order_of_neighbours_does_not_matter():
    channel, images, share = gaussian_channel((4, 5, 1), CENTRES, KINDS)
    _, plain = positions(channel, images, share)
    _, shuffled = positions(channel, images, share, spoil_order=True)
    np.testing.assert_allclose(shuffled, plain, atol=1e-12)

"""Symmetrised models: a WannierModel averaged over the symmetry of its spin-orbit-free collinear magnet.

Wannier functions from a plane-wave calculation obey the crystal's symmetry to 1e-3 or so. A mesh reduced by
symmetry equals the whole mesh only as far as they do; the average makes it exact.

Without spin-orbit interaction spin and space are decoupled: every spatial operation g that takes each moment to an
equal one is a symmetry of Hbar, A and the overlap, whatever the direction n; one that takes each moment to its
opposite (antiferromagnets) exchanges the spin channels. In the atomic gauge, every function counted from its
atom in the home cell, |qj> -> |g q, j'> U_j'j(q) with

    U_j'j(q) = D_j'j exp(-i gq.L_a),    L_a = R r_a + t - r_g(a),

D the rotation of real harmonics on atom a, and with B = A - r_a (positions measured from the atoms)

    H(gq) = U H(q) U^+,    B(gq) = U (R B(q)) U^+,    P(gq) = U_beta P(q) U^+,

and dP/dk like P and a vector.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import InputError, brief
from ..model.wannier import WannierModel
from .action import mesh_matrices
from .groups import Operation, film_positions, lattice_frame, moment_classes, moment_signs, space_group
from .representations import COUPLING_TOLERANCE, Shell, function_rotation, projector_rotation, read_shells

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]

LARGEST_CHANGE = 0.5
"""eV that symmetrising may move a band of Hbar; beyond it the functions are other than `orbitals` says."""

AUTOMATIC_CHANGE = 0.05
"""eV that symmetrising may move a band unasked: as much as bands may be off pw.x's by the gate of protocol fast."""


def symmetrised_if_possible(model: WannierModel) -> tuple[WannierModel, str]:
    """The symmetrised model where that moves no band by more than AUTOMATIC_CHANGE; else the model, and why not."""
    try:
        return symmetrised(model, largest_change=AUTOMATIC_CHANGE), ""
    except InputError as error:
        return model, brief(error)


def symmetrised(
    model: WannierModel,
    orbitals: Iterable[Sequence[int]] | None = None,
    tolerance: float = 1e-4,
    largest_change: float = LARGEST_CHANGE,
) -> WannierModel:
    """The model averaged over its spatial symmetry and over time reversal, X(-q) = X(q)*.

    Cell and positions become symmetric too (they move by `tolerance` at most). The functions of one shell get
    their common centre, which is what the interpolation must place them by: a rotation mixes them.

    Parameters
    ----------
    model : WannierModel
        With moments; its functions real harmonics on the atoms, in Wannier90's order within a shell.
    orbitals : iterable of (atom, l), optional
        The shells in the order of the functions; default the model's attribute `orbitals` (the same list as
        JSON), and without it s, p, d on every atom where there are 9 functions an atom.
    tolerance : float
        Angstrom, as for `space_group`.
    largest_change : float
        eV that a band of Hbar may move on the ab-initio mesh.

    Returns
    -------
    WannierModel

    Raises
    ------
    InputError
        If moments are missing, `orbitals` do not fit the functions, the ab-initio mesh lacks the crystal's
        symmetry, a coupling is not proportional to the angular momentum of real harmonics, or a band moves by
        more than `largest_change`.
    """
    classes = moment_classes(model)
    shells = read_shells(model, orbitals)
    group = [
        (operation, sign < 0)
        for operation in space_group(model, tolerance)
        for sign in moment_signs(classes, operation.permutation)
    ]
    atoms = _Atoms.of(model, [operation for operation, _ in group])
    gauge = _Gauge.of(model, shells)
    mean = _average(gauge.enter(model), group, atoms, shells)
    result = gauge.leave(_time_reversed_mean(mean), model, atoms, shells, len(group))
    change = _band_change(model, result)
    if change > largest_change:
        raise InputError(
            f"symmetry: symmetrising would move bands by {change:.2f} eV (at most {largest_change:g} expected); the "
            "Wannier functions are not the real harmonics that `orbitals` names (give the right shells, or a projected "
            "subspace that was not localised, num_iter = 0), or the density lacks the structure's symmetry"
        )
    return result


def _band_change(model: WannierModel, symmetric: WannierModel) -> float:
    before, after = np.linalg.eigvalsh(model.hamiltonian), np.linalg.eigvalsh(symmetric.hamiltonian)
    return float(np.abs(after - before).max())


def symmetry_errors(model: WannierModel, symmetric: WannierModel) -> dict[str, float]:
    """Largest change of the bands (eV) and of each operator's elements by symmetrising.

    Elements also hold what a change of gauge did, which leaves the bands: a function normalised for itself, as
    pw2wannier90.x does at every k point, is no longer its partner's image.

    Parameters
    ----------
    model, symmetric : WannierModel
        Before and after `symmetrised`.

    Returns
    -------
    dict of float
        bands, hamiltonian, spin_orbit (eV), position (Angstrom), overlap.
    """
    everywhere = np.ones(model.atoms)
    return {
        "bands": _band_change(model, symmetric),
        "hamiltonian": float(np.abs(symmetric.hamiltonian - model.hamiltonian).max()),
        "position": float(np.abs(symmetric.position - model.position).max()),
        "overlap": float(np.abs(symmetric.overlap - model.overlap).max()),
        "spin_orbit": float(np.abs(symmetric.spin_orbit(everywhere) - model.spin_orbit(everywhere)).max()),
    }


# -- structure ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Atoms:
    """The symmetric structure, and the cells L_a (operation, atom, 3) into which operations move atoms."""

    cell: Floats
    positions: Floats
    moved: Floats
    cells: Integers
    rotations: Floats

    @classmethod
    def of(cls, model: WannierModel, operations: list[Operation]) -> _Atoms:
        """Average the metric of the cell, and the positions relative to their mean."""
        d = model.dimension
        frame = lattice_frame(model)
        inverse = np.linalg.inv(frame)
        positions = film_positions(model)
        fractional = positions @ inverse
        images = np.stack([(positions @ g.cartesian.T + g.translation) @ inverse for g in operations])
        targets = np.stack([fractional[g.permutation] for g in operations])
        cells = np.rint(images - targets).astype(np.int64)
        cells[..., d:] = 0

        # |x frame|^2 = x G x^T, so a rotation x -> W x keeps lengths if W^T G W = G. The symmetric G is
        # C' C'^T with C'C^-1 close to 1, the strain between the cells.
        metric = frame @ frame.T
        strain = np.linalg.cholesky(np.mean([g.rotation.T @ metric @ g.rotation for g in operations], axis=0))
        symmetric = strain @ np.linalg.inv(np.linalg.cholesky(metric)) @ frame
        rotations = np.stack([symmetric.T @ g.rotation @ np.linalg.inv(symmetric.T) for g in operations])

        # About the mean of the atoms W acts on x_a without t: x_g(a) = mean over g of W x_a - (L_a - mean L).
        centred = fractional - fractional.mean(axis=0)
        relative = np.zeros_like(centred)
        for g, own in zip(operations, cells, strict=True):
            relative[g.permutation] += centred @ g.rotation.T - (own - own.mean(axis=0))
        moved = (fractional.mean(axis=0) + relative / len(operations)) @ symmetric
        cell = model.cell.copy()
        cell[:d] = symmetric[:d]
        return cls(cell, model.positions + moved - positions, moved, cells, rotations)


# -- gauge -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Operators:
    """What is averaged, in the atomic gauge, k points in the order of the mesh; B = A - r_a."""

    mesh: tuple[int, ...]
    hamiltonian: Complexes
    position: Complexes
    overlap: Complexes
    projections: list[Complexes]
    gradients: list[Complexes]
    coupling: tuple[Complexes, ...]

    @property
    def points(self) -> Integers:
        """Integers of the mesh points, shape (3, q)."""
        return np.indices(self.mesh).reshape(3, -1).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class _Gauge:
    """Between the model's functions and those counted from their atoms in the home cell.

    order : flat mesh index of the model's k points; homes : T_j, shape (n, 3), the cell in which function j sits
    (its centre minus its atom, rounded); owners : its atom; phases : exp(i q.T_j), shape (q, n).
    """

    order: Integers
    phases: Complexes
    homes: Integers
    owners: Integers

    @classmethod
    def of(cls, model: WannierModel, shells: list[Shell]) -> _Gauge:
        """From the centres: functions may sit in any cell, as the phases of the ab-initio run have it."""
        owners = np.concatenate([np.full(2 * s.ell + 1, s.atom, dtype=np.int64) for s in shells])
        offset = model.centres.mean(axis=0) - film_positions(model)[owners]
        homes = np.rint(offset @ np.linalg.inv(model.cell)).astype(np.int64)
        integers = np.rint(model.kpoints * model.mesh).astype(np.int64) % model.mesh
        order = np.ravel_multi_index(tuple(integers.T), model.mesh).astype(np.int64)
        phases = np.exp(2j * np.pi * (integers / model.mesh) @ homes.T)
        return cls(order, phases, homes, owners)

    def enter(self, model: WannierModel) -> _Operators:
        """X_ij -> exp(-iq.T_i) X_ij exp(iq.T_j); A also loses r_a + T_j on its diagonal."""
        between = self.phases.conj()[:, :, None] * self.phases[:, None, :]
        position = model.position * between[:, None]
        n = np.arange(model.functions)
        position[..., n, n] -= (film_positions(model)[self.owners] + self.homes @ model.cell).T
        sort = np.argsort(self.order)
        return _Operators(
            mesh=model.mesh,
            hamiltonian=(model.hamiltonian * between)[:, sort],
            position=position[:, sort],
            overlap=(model.overlap * between)[sort],
            projections=[(p * self.phases[:, None, :])[:, sort] for p in model.projections],
            gradients=[(p * self.phases[:, None, None, :])[:, sort] for p in model.gradients or ()],
            coupling=model.coupling,
        )

    def leave(
        self, operators: _Operators, model: WannierModel, atoms: _Atoms, shells: list[Shell], operations: int
    ) -> WannierModel:
        """Back to the model's gauge, about the symmetric positions."""
        between = self.phases[:, :, None] * self.phases.conj()[:, None, :]
        n = np.arange(model.functions)
        origins = atoms.moved[self.owners] + self.homes @ atoms.cell
        position = operators.position[:, self.order] * between[:, None]
        position[..., n, n] += origins.T
        back = self.phases.conj()[:, None, :]
        # The trace over a shell is a vector of its atom; the centres of its single functions are not.
        offsets = np.einsum("sqxnn->snx", operators.position).real / len(self.order)
        for shell in shells:
            offsets[:, shell.functions] = offsets[:, shell.functions].mean(axis=1, keepdims=True)
        return dataclasses.replace(
            model,
            cell=atoms.cell,
            positions=atoms.positions,
            # Files round k; the mesh is symmetric only without that.
            kpoints=np.rint(model.kpoints * model.mesh) / model.mesh,
            centres=origins + offsets,
            hamiltonian=operators.hamiltonian[:, self.order] * between,
            position=position,
            overlap=operators.overlap[self.order] * between,
            projections=tuple(p[:, self.order] * back for p in operators.projections),
            gradients=tuple(p[:, self.order] * back[:, None] for p in operators.gradients) or None,
            attributes=model.attributes | {"symmetrised": f"{operations} spatial operations and time reversal"},
        )


# -- averages ----------------------------------------------------------------------------------------


def _average(
    operators: _Operators, group: list[tuple[Operation, bool]], atoms: _Atoms, shells: list[Shell]
) -> _Operators:
    """Mean over the group of X(gq) = U X(q) U^+ (B also turned, P with its own U on the left)."""
    owners = np.concatenate([np.full(2 * s.ell + 1, s.atom) for s in shells])
    matrices = mesh_matrices(operators.mesh, [g for g, _ in group], "the model's ab-initio mesh")
    hamiltonian, position, overlap = (
        np.zeros_like(x) for x in (operators.hamiltonian, operators.position, operators.overlap)
    )
    projections = [np.zeros_like(p) for p in operators.projections]
    gradients = [np.zeros_like(p) for p in operators.gradients]
    share = 1 / len(group)
    for (operation, exchanged), matrix, cells, turn in zip(group, matrices, atoms.cells, atoms.rotations, strict=True):
        turned = matrix @ operators.points
        target = np.ravel_multi_index(tuple(turned % np.asarray(operators.mesh)[:, None]), operators.mesh)
        k = (turned / np.asarray(operators.mesh)[:, None]).T
        phases = np.exp(-2j * np.pi * k @ cells.T)
        ket = function_rotation(shells, operation.permutation, turn) * phases[:, None, owners]
        bra = share * ket.conj().swapaxes(-1, -2)
        spins = [1, 0] if exchanged else [0, 1]
        hamiltonian[:, target] += ket @ operators.hamiltonian[spins] @ bra
        vectors = np.einsum("xy,sqyij->sqxij", turn, operators.position[spins])
        position[:, target] += ket[:, None] @ vectors @ bra[:, None]
        # <up|down> with the channels exchanged is <down|up>
        own = operators.overlap.conj().swapaxes(-1, -2) if exchanged else operators.overlap
        overlap[target] += ket @ own @ bra
        for atom, image in enumerate(operation.permutation):
            rotation = projector_rotation(operators.coupling[atom], turn)
            left = rotation * phases[:, atom, None, None]
            projections[image][:, target] += left @ operators.projections[atom][spins] @ bra
            if gradients:
                vectors = np.einsum("xy,sqypn->sqxpn", turn, operators.gradients[atom][spins])
                gradients[image][:, target] += left[:, None] @ vectors @ bra[:, None]
    return _Operators(operators.mesh, hamiltonian, position, overlap, projections, gradients, operators.coupling)


def _time_reversed_mean(operators: _Operators) -> _Operators:
    """(X(q) + X(-q)*)/2: real harmonics are their own time reverse; a derivative in k changes its sign."""
    for atom, coupling in enumerate(operators.coupling):
        real = float(np.abs(coupling.real).max(initial=0.0))
        if real > COUPLING_TOLERANCE * float(np.abs(coupling).max(initial=0.0)):
            raise InputError(
                f"spin_orbit/{atom}/coupling: is not imaginary, so its projectors are not real harmonics; "
                "the model cannot be symmetrised"
            )
    opposite = np.ravel_multi_index(tuple(-operators.points % np.asarray(operators.mesh)[:, None]), operators.mesh)

    def mean(operator: Complexes, sign: int = 1) -> Complexes:
        result: Complexes = (operator + sign * operator[:, opposite].conj()) / 2
        return result

    return dataclasses.replace(
        operators,
        hamiltonian=mean(operators.hamiltonian),
        position=mean(operators.position),
        overlap=mean(operators.overlap[None])[0],
        projections=[mean(p) for p in operators.projections],
        gradients=[mean(p, -1) for p in operators.gradients],
    )

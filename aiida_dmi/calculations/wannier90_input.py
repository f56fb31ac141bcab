"""Text of Wannier90's input file ``SEED.win``, from plain data.

Nothing here knows AiiDA: the functions take dictionaries, lists and arrays and return text, and raise
:class:`ValueError` with what was given and what was expected. Keywords and blocks are those of the Wannier90 3.1
user guide, chapter 2; lengths are in Angstrom and k-points in units of the reciprocal lattice vectors.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

__all__ = ("check_mp_grid", "format_orbital", "format_parameter", "format_projections", "format_ranges", "format_win")

_SPIN_CHANNEL = {1: "(u)", -1: "(d)", 0: "", None: ""}


def format_win(
    parameters: Mapping[str, Any],
    *,
    cell: ArrayLike,
    sites: Iterable[tuple[str, Sequence[float]]],
    kpoints: Iterable[Sequence[float]],
    projections: Sequence[str] = (),
    kpoint_path: Mapping[str, Any] | None = None,
    explicit_kpath: tuple[Sequence[Sequence[float]], Sequence[tuple[int, str]]] | None = None,
) -> str:
    """Return the content of a ``.win`` file.

    Parameters
    ----------
    parameters
        Wannier90 keywords, lower case, with ``mp_grid`` among them.
    cell
        Lattice vectors as rows, shape (3, 3), Angstrom.
    sites
        Label and Cartesian position, shape (3,), Angstrom, of every atom.
    kpoints
        Crystal coordinates of the k-points of the Bloch states, shape (nk, 3).
    projections
        Lines of the ``projections`` block, see :func:`format_projections`; without any the block is left out.
    kpoint_path
        ``path``, a list of pairs of labels, and ``point_coords``, the crystal coordinates of each label.
    explicit_kpath
        k-points of a band structure, shape (n, 3), and (index, label) of the labelled ones. Wannier90 releases up to
        3.1.0 do not know this block.

    Raises
    ------
    ValueError
        If a value cannot be written, or a label of the path has no coordinates.

    Examples
    --------
    >>> print(format_win({"num_wann": 1, "mp_grid": [1, 1, 1]}, cell=[[1, 0, 0], [0, 1, 0], [0, 0, 9]],
    ...       sites=[("Co", (0, 0, 0))], kpoints=[(0, 0, 0)]).splitlines()[0])
    mp_grid = 1, 1, 1
    """
    blocks: dict[str, list[str]] = {
        "unit_cell_cart": ["ang", *_format_rows(cell)],
        "atoms_cart": ["ang", *(f"{label} {_format_row(position)}" for label, position in sites)],
        "projections": list(projections),
        "kpoints": _format_rows(kpoints),
    }
    if kpoint_path is not None:
        blocks["kpoint_path"] = _format_kpoint_path(kpoint_path)
    if explicit_kpath is not None:
        points, labels = explicit_kpath
        blocks["explicit_kpath"] = _format_rows(points)
        blocks["explicit_kpath_labels"] = [f"{label} {_format_row(points[index])}" for index, label in labels]

    # Sorted, so that the same inputs give the same file whatever the order in which they were written down.
    lines = [f"{key} = {text}" for key, value in sorted(parameters.items()) if (text := format_parameter(key, value))]
    for name, content in sorted(blocks.items()):
        if content:
            lines += ["", f"begin {name}", *content, f"end {name}"]
    return "\n".join(lines) + "\n"


def format_parameter(key: str, value: Any) -> str:
    """Return the right-hand side of ``key = value``; empty for an empty list, which has no meaning to Wannier90.

    Raises
    ------
    ValueError
        If `value` is not a logical, a number, a string, or a flat list of these.
    """
    if key == "exclude_bands" and not isinstance(value, str):
        return format_ranges(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_format_scalar(key, item) for item in value)
    return _format_scalar(key, value)


def format_ranges(values: Iterable[int]) -> str:
    """Return band numbers as the ranges that Wannier90 reads.

    Raises
    ------
    ValueError
        If a number is not a positive integer or occurs twice.

    Examples
    --------
    >>> format_ranges([1, 2, 3, 7, 9, 10])
    '1-3,7,9-10'
    """
    numbers_given = list(values) if isinstance(values, Iterable) else [values]
    if any(isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1 for n in numbers_given):
        raise ValueError(f"exclude_bands is {numbers_given}; expected positive integers (bands count from 1)")
    if len(set(numbers_given)) < len(numbers_given):
        raise ValueError(f"exclude_bands is {numbers_given}; the same band occurs twice")

    ranges: list[list[int]] = []
    for band in sorted(numbers_given):
        if ranges and band == ranges[-1][1] + 1:
            ranges[-1][1] = band
        else:
            ranges.append([band, band])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def check_mp_grid(parameters: Mapping[str, Any], mesh: Sequence[int] | None, nkpoints: int) -> list[int]:
    """Return ``mp_grid``: what the parameters say, else the mesh.

    Parameters
    ----------
    parameters
        Wannier90 keywords.
    mesh
        Divisions of the k-point mesh; None where the k-points are an explicit list, which does not tell its mesh.
    nkpoints
        Number of k-points.

    Raises
    ------
    ValueError
        If there is neither, or the mesh does not have `nkpoints` points.
    """
    given = parameters.get("mp_grid", mesh)
    if given is None:
        raise ValueError(
            "the k-points are an explicit list, which does not tell its mesh: "
            "add mp_grid to the parameters, for a slab for instance [6, 6, 1]"
        )
    entries = given.replace(",", " ").split() if isinstance(given, str) else given
    try:
        grid = [int(entry) for entry in entries]
    except (TypeError, ValueError):
        grid = []
    if len(grid) != 3 or min(grid) < 1:
        raise ValueError(f"mp_grid is {given!r}; expected three positive integers")
    if math.prod(grid) != nkpoints:
        raise ValueError(f"mp_grid is {grid}, that is {math.prod(grid)} points, but there are {nkpoints} k-points")
    return grid


def format_projections(projections: Sequence[str] | Mapping[str, Any], random: bool = False) -> list[str]:
    """Return the lines of the ``projections`` block.

    Parameters
    ----------
    projections
        Lines as Wannier90 reads them, or orbitals by site: ``{"Co1": "s;p;d"}`` or ``{"Co1": ["s", "p", "d"]}``.
    random
        Whether Wannier90 is to add s functions at random places up to ``num_wann``.

    Raises
    ------
    ValueError
        If an entry is not a string or a list of strings.

    Examples
    --------
    >>> format_projections({"Co1": ["s", "d"]}, random=True)
    ['random', 'Co1:s;d']
    """
    if isinstance(projections, Mapping):
        lines = [
            f"{site}:{orbitals if isinstance(orbitals, str) else ';'.join(_strings(orbitals))}"
            for site, orbitals in projections.items()
        ]
    else:
        lines = _strings(projections)
    return ["random", *lines] if random else lines


def format_orbital(orbital: Mapping[str, Any]) -> str:
    """Return the projection line of one hydrogen-like orbital.

    Parameters
    ----------
    orbital
        As :meth:`aiida.tools.RealhydrogenOrbital.get_orbital_dict` gives it: ``position`` (Angstrom),
        ``angular_momentum`` and ``magnetic_number`` (from 0), and optionally ``z_orientation``, ``x_orientation``,
        ``radial_nodes``, ``diffusivity``, ``spin`` (1 or -1) and ``spin_orientation``. Wannier90 takes the last two
        only with ``spinors = .true.``.

    Raises
    ------
    ValueError
        If one of the first three is missing.
    """
    missing = [key for key in ("position", "angular_momentum", "magnetic_number") if orbital.get(key) is None]
    if missing:
        raise ValueError(f"an orbital of the projections lacks {', '.join(missing)}")

    # Wannier90 counts magnetic numbers and radial functions from 1, AiiDA from 0.
    fields = [
        _format_vector("c", orbital["position"]),
        f"l={orbital['angular_momentum']},mr={orbital['magnetic_number'] + 1}",
    ]
    fields += [
        _format_vector(tag, orbital[key])
        for tag, key in (("z", "z_orientation"), ("x", "x_orientation"))
        if orbital.get(key) is not None
    ]
    if orbital.get("radial_nodes") is not None:
        fields.append(f"r={orbital['radial_nodes'] + 1}")
    if orbital.get("diffusivity") is not None:
        fields.append(_format_vector("zona", [orbital["diffusivity"]]))

    line = ":".join(fields) + _SPIN_CHANNEL[orbital.get("spin")]
    if orbital.get("spin_orientation") is not None:
        line += "[" + ",".join(f"{component:.10f}" for component in orbital["spin_orientation"]) + "]"
    return line


def _format_scalar(key: str, value: Any) -> str:
    # A bool is also an Integral, so it comes first.
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return f"{float(value):.10e}".replace("e", "d")
    if isinstance(value, str):
        return value
    raise ValueError(f"parameter {key} is {value!r}; expected a logical, a number, a string or a flat list of these")


def _strings(items: Any) -> list[str]:
    if isinstance(items, str) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"projections contain {items!r}; expected a list of strings")
    return list(items)


def _format_vector(tag: str, components: Iterable[float]) -> str:
    return f"{tag}=" + ",".join(f"{component:.10f}" for component in components)


def _format_row(row: Iterable[float]) -> str:
    return " ".join(f"{component:18.10f}" for component in row)


def _format_rows(rows: Any) -> list[str]:
    return [_format_row(row) for row in rows]


def _format_kpoint_path(kpoint_path: Mapping[str, Any]) -> list[str]:
    missing = {"path", "point_coords"} - set(kpoint_path)
    if missing:
        raise ValueError(f"kpoint_path lacks {', '.join(sorted(missing))}; it has {sorted(kpoint_path)}")
    coordinates = kpoint_path["point_coords"]
    unknown = {label for segment in kpoint_path["path"] for label in segment} - set(coordinates)
    if unknown:
        raise ValueError(f"kpoint_path: the path goes through {sorted(unknown)}, which point_coords does not have")
    return [
        " ".join(f"{label} {_format_row(coordinates[label])}" for label in segment) for segment in kpoint_path["path"]
    ]

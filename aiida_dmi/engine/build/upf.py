"""Text of pseudopotential files: UPF 2 read and written, other formats told apart."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ..errors import InputError, brief

Floats = npt.NDArray[np.float64]

CONVERTED = "Quantum ESPRESSO's `upfconv.x -u FILE` writes the same as UPF 2, to FILE.UPF2"


@dataclasses.dataclass(frozen=True)
class Projector:
    """One non-local projector beta: `values` is r*beta(r) on the radial mesh; j is None in a scalar file."""

    ell: int
    j: float | None
    values: Floats
    cutoff_index: int
    cutoff_radius: float


@dataclasses.dataclass(frozen=True)
class Orbital:
    """One pseudo-atomic orbital: `values` is r*chi(r); energy in Ry."""

    label: str
    ell: int
    j: float | None
    occupation: float
    energy: float
    values: Floats


class Content(Protocol):
    """What a file is written from: see `pseudopotential.Pseudopotential`."""

    @property
    def header(self) -> dict[str, str]: ...  # noqa: D102
    @property
    def radii(self) -> Floats: ...  # noqa: D102
    @property
    def weights(self) -> Floats: ...  # noqa: D102
    @property
    def local(self) -> Floats: ...  # noqa: D102
    @property
    def projectors(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def coupling(self) -> Floats: ...  # noqa: D102
    @property
    def orbitals(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def density(self) -> Floats: ...  # noqa: D102
    @property
    def core_density(self) -> Floats | None: ...  # noqa: D102
    @property
    def valence(self) -> float: ...  # noqa: D102
    @property
    def fully_relativistic(self) -> bool: ...  # noqa: D102


def refuse_other_formats(text: str, name: str) -> None:
    """Refuse a file that holds a pseudopotential, but not as UPF 2.

    Raises
    ------
    InputError
        Naming the format, and how it is converted where that can be done.
    """
    start = text[:100_000]
    if not text.strip():
        raise InputError(f"pseudopotential {name}: is empty, UPF 2 is needed; fetch the file again")
    if "qe_pp:pseudo" in start:
        raise InputError(
            f"pseudopotential {name}: Quantum ESPRESSO's XML format was given, UPF 2 is needed; give the UPF file that "
            "it was made from"
        )
    if "<PP_HEADER" not in start or "<UPF" in start:
        return
    # The third line of such a header says which kind it is; PP_ADDINFO holds j.
    kind = re.search(r"<PP_HEADER>(?:[^\n]*\n){3}\s*(\w+)", start)
    lacks = ["norm-conserving"] if kind is not None and kind[1].upper() in ("US", "PAW", "1") else []
    lacks += [] if "<PP_ADDINFO" in text else ["fully relativistic"]
    if lacks:
        raise InputError(
            f"pseudopotential {name}: UPF 1 was given that is not {' and not '.join(lacks)}; a norm-conserving, fully "
            "relativistic one in UPF 2 is needed, for instance PseudoDojo's"
        )
    raise InputError(f"pseudopotential {name}: UPF 1 was given, UPF 2 is needed; {CONVERTED}")


def read_upf(text: str, name: str) -> dict[str, Any]:
    """The content of a UPF 2 file, by the fields of `pseudopotential.Pseudopotential`.

    Raises
    ------
    InputError
        If it is no UPF 2 file, or one of an ultrasoft or PAW pseudopotential; `name` is what the message calls it.
    """
    refuse_other_formats(text, name)
    # PP_INFO is free text for people and may hold '<' or '&': it is no part of the data.
    bare = re.sub(r"<PP_INFO>.*?</PP_INFO>", "", text, flags=re.DOTALL)
    try:
        root = ElementTree.fromstring(bare.strip().removeprefix("\ufeff"))
        header = _header(root)
        _refuse_unsupported(header, name)
        core = root.find("PP_NLCC")
        return {
            "header": header,
            "radii": _numbers(_child(root, "PP_MESH/PP_R")),
            "weights": _numbers(_child(root, "PP_MESH/PP_RAB")),
            "local": _numbers(_child(root, "PP_LOCAL")),
            "projectors": _projectors(root, header),
            "coupling": _coupling(root, header),
            "orbitals": _orbitals(root, header),
            "density": _numbers(_child(root, "PP_RHOATOM")),
            "core_density": None if core is None else _numbers(core),
        }
    except (ElementTree.ParseError, KeyError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"pseudopotential {name}: not a readable UPF 2 file ({brief(error)}); "
            "give a norm-conserving UPF file such as those of PseudoDojo"
        ) from error


def _header(root: ElementTree.Element) -> dict[str, str]:
    header = {key: value.strip() for key, value in _child(root, "PP_HEADER").attrib.items()}
    for key in ("element", "z_valence", "number_of_proj", "number_of_wfc"):
        if key not in header:
            raise ValueError(f"PP_HEADER has no {key}")
    return header


def _refuse_unsupported(header: dict[str, str], name: str) -> None:
    kind = header.get("pseudo_type", "?").upper()
    if kind not in ("NC", "SL") or is_true(header.get("is_ultrasoft", "F")) or is_true(header.get("is_paw", "F")):
        raise InputError(
            f"pseudopotential {name}: pseudo_type '{brief(kind)}' was given, a norm-conserving one (NC) is needed; "
            "use for instance PseudoDojo's"
        )


def is_true(text: str) -> bool:
    """A Fortran or XML truth value: T, .true., 1."""
    return text.strip().strip(".").upper() in ("T", "TRUE", "1")


def _child(root: ElementTree.Element, path: str) -> ElementTree.Element:
    element = root.find(path)
    if element is None:
        raise ValueError(f"section {path} is missing")
    return element


def _numbers(element: ElementTree.Element) -> Floats:
    return np.array((element.text or "").split(), dtype=float)


def _projectors(root: ElementTree.Element, header: dict[str, str]) -> tuple[Projector, ...]:
    projectors = []
    for index in range(1, int(header["number_of_proj"]) + 1):
        beta = _child(root, f"PP_NONLOCAL/PP_BETA.{index}")
        j = None
        if is_true(header.get("has_so", "F")):
            j = float(_child(root, f"PP_SPIN_ORB/PP_RELBETA.{index}").attrib["jjj"])
        values = _numbers(beta)
        ell = _angular_momentum(beta.attrib["angular_momentum"], f"projector {index}")
        end = int(beta.attrib.get("cutoff_radius_index", len(values)))
        if end < 1:
            raise ValueError(f"cutoff_radius_index {end} of projector {index}: a point of the mesh expected")
        projectors.append(
            Projector(
                ell=ell,
                j=j,
                values=values,
                cutoff_index=min(end, len(values)),
                cutoff_radius=float(beta.attrib.get("cutoff_radius", 0.0)),
            )
        )
    return tuple(projectors)


def _angular_momentum(text: str, owner: str) -> int:
    ell = int(text)
    if not 0 <= ell <= 3:
        raise ValueError(f"angular momentum {ell} of {owner}: 0 to 3 expected")
    return ell


def _coupling(root: ElementTree.Element, header: dict[str, str]) -> Floats:
    count = int(header["number_of_proj"])
    return _numbers(_child(root, "PP_NONLOCAL/PP_DIJ")).reshape(count, count)


def _orbitals(root: ElementTree.Element, header: dict[str, str]) -> tuple[Orbital, ...]:
    orbitals = []
    for index in range(1, int(header["number_of_wfc"]) + 1):
        chi = _child(root, f"PP_PSWFC/PP_CHI.{index}")
        relativistic = root.find(f"PP_SPIN_ORB/PP_RELWFC.{index}")
        orbitals.append(
            Orbital(
                label=chi.attrib.get("label", "").strip(),
                ell=_angular_momentum(chi.attrib["l"], f"orbital {index}"),
                j=None if relativistic is None else float(relativistic.attrib["jchi"]),
                occupation=float(chi.attrib.get("occupation", 0.0)),
                energy=float(chi.attrib.get("pseudo_energy", 0.0)),
                values=_numbers(chi),
            )
        )
    return tuple(orbitals)


def write_upf(pseudo: Content) -> str:
    """Text of a UPF 2.0.1 file."""
    root = ElementTree.Element("UPF", version="2.0.1")
    ElementTree.SubElement(root, "PP_INFO").text = "\n" + _information(pseudo) + "\n"
    header = {
        **pseudo.header,
        "number_of_wfc": str(len(pseudo.orbitals)),
        "number_of_proj": str(len(pseudo.projectors)),
        "mesh_size": str(len(pseudo.radii)),
    }
    ElementTree.SubElement(root, "PP_HEADER", header)
    mesh = ElementTree.SubElement(root, "PP_MESH")
    _section(mesh, "PP_R", pseudo.radii)
    _section(mesh, "PP_RAB", pseudo.weights)
    if pseudo.core_density is not None:
        _section(root, "PP_NLCC", pseudo.core_density)
    _section(root, "PP_LOCAL", pseudo.local)
    nonlocal_ = ElementTree.SubElement(root, "PP_NONLOCAL")
    for index, projector in enumerate(pseudo.projectors, start=1):
        _section(
            nonlocal_,
            f"PP_BETA.{index}",
            projector.values,
            index=str(index),
            angular_momentum=str(projector.ell),
            cutoff_radius_index=str(projector.cutoff_index),
            cutoff_radius=f"{projector.cutoff_radius:.10E}",
        )
    _section(nonlocal_, "PP_DIJ", pseudo.coupling.ravel())
    orbitals = ElementTree.SubElement(root, "PP_PSWFC")
    for index, orbital in enumerate(pseudo.orbitals, start=1):
        _section(
            orbitals,
            f"PP_CHI.{index}",
            orbital.values,
            index=str(index),
            occupation=f"{orbital.occupation:.6f}",
            pseudo_energy=f"{orbital.energy:.10E}",
            label=orbital.label,
            l=str(orbital.ell),
        )
    _section(root, "PP_RHOATOM", pseudo.density)
    if pseudo.fully_relativistic:
        _write_spin_orbit(root, pseudo)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _information(pseudo: Content) -> str:
    """Text for people, and for readers that take the first z_valence they find and want an integer (aiida-pseudo)."""
    comment = pseudo.header.get("comment", "")
    if pseudo.valence.is_integer():
        return comment
    return f'{comment}\nz_valence="{round(pseudo.valence)}" is rounded; PP_HEADER has {pseudo.valence:.15g}'


def _write_spin_orbit(root: ElementTree.Element, pseudo: Content) -> None:
    section = ElementTree.SubElement(root, "PP_SPIN_ORB")
    for index, projector in enumerate(pseudo.projectors, start=1):
        attributes = {"index": str(index), "lll": str(projector.ell), "jjj": f"{projector.j:.1f}"}
        ElementTree.SubElement(section, f"PP_RELBETA.{index}", attributes)
    for index, orbital in enumerate(pseudo.orbitals, start=1):
        attributes = {"index": str(index), "lchi": str(orbital.ell), "jchi": f"{orbital.j:.1f}", "nn": str(index)}
        ElementTree.SubElement(section, f"PP_RELWFC.{index}", attributes)


def _section(parent: ElementTree.Element, tag: str, values: Floats, **attributes: str) -> None:
    element = ElementTree.SubElement(
        parent, tag, {"type": "real", "size": str(len(values)), "columns": "4", **attributes}
    )
    rows = [values[start : start + 4] for start in range(0, len(values), 4)]
    # 17 digits: the average is exact as an operator, so the file should not round it.
    element.text = "\n" + "\n".join(" ".join(f"{value:24.16E}" for value in row) for row in rows) + "\n"

"""Bilayers of a magnetic film on a substrate, in the provenance: by arguments, by name, and the paper's two systems.

Every distance that is not given is an estimate (`crystals.layer_spacing`). Relax a film before its numbers are held
against an experiment.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.convert import structure_data, with_kinds
from aiida_dmi.structures.crystals import CRYSTALS, KNOWN, crystal_of, facet_of, layer_spacing
from aiida_dmi.structures.film import MAGNETS, Film
from aiida_dmi.structures.geometry import FACETS, bilayer, check_cap, check_length
from aiida_dmi.structures.heights import layer_kind

TEXT = re.compile(r"([A-Z][a-z]?(?:/[A-Z][a-z]?)+)\((\d+)\)\s*:\s*(\d+(?:\+\d+)+)")


@calcfunction
def build_bilayer(parameters: orm.Dict) -> orm.StructureData:
    """`geometry.bilayer` in the provenance: a Dict of its arguments, and `kinds`, to a StructureData.

    The label names the film, such as 'Co/Pt(111) 3+10'.
    """
    arguments = parameters.get_dict()
    kinds = arguments.pop("kinds", "element")
    atoms = bilayer(**arguments)
    if kinds == "layer":
        names = Film.of(atoms, magnet_elements(arguments)).names
        atoms = with_kinds(atoms, [layer_kind(name) for name in names])
    return structure_data(atoms, film_label(arguments))


def bilayer_structure(kinds: str = "element", **arguments: Any) -> orm.StructureData:
    """A film made by `build_bilayer`, so that the provenance shows the numbers it was built from.

    Parameters
    ----------
    kinds : {'element', 'layer'}
        One kind an element, the fewest species in pw.x; or one a layer, so that each can have its own starting moment.
        Spin-orbit masks by layer need no kinds of their own.
    **arguments
        Of `geometry.bilayer`.

    Raises
    ------
    InputError
        As `geometry.bilayer`, before anything is stored.
    """
    Choices.checked({"kinds": kinds})
    known = inspect.signature(bilayer).parameters
    if unknown := sorted(set(arguments) - set(known)):
        raise InputError(f"{', '.join(unknown)}: no argument of a bilayer, expected some of {', '.join(known)}")
    bilayer(**arguments)
    return build_bilayer(orm.Dict({**arguments, "kinds": kinds}))


def film_label(arguments: Mapping[str, Any]) -> str:
    """Name of a film from the arguments of `geometry.bilayer`: 'Co/Pt(111) 3+10', 'Ir/Co/Pt(111) 2+3+10, Pt.1 = Au'."""
    blocks = [(cap["element"], cap.get("layers", 1)) for cap in reversed(arguments.get("caps", ()))]
    blocks += [(arguments[part], arguments[f"{part}_layers"]) for part in ("magnet", "substrate")]
    elements, layers = "/".join(element for element, _ in blocks), "+".join(str(count) for _, count in blocks)
    changes = [f", {name} = {element}" for name, element in sorted((arguments.get("substitutions") or {}).items())]
    return f"{elements}{FACETS[arguments['facet']]} {layers}{''.join(changes)}"


def magnet_elements(arguments: Mapping[str, Any]) -> list[str]:
    """The magnet's elements, those that replace some of its layers included."""
    unchanged = Film.of(bilayer(**{**arguments, "substitutions": None}), [arguments["magnet"]])
    magnet = set(unchanged.group("magnet"))
    changes = (arguments.get("substitutions") or {}).items()
    new = [element for name, element in changes if magnet & set(unchanged.sites(name))]
    return [arguments["magnet"], *new]


def film(text: str, **changes: Any) -> orm.StructureData:
    """A film by its usual name.

    Parameters
    ----------
    text : str
        Elements from the top down to the substrate, the surface, and their layers in the same order:
        'Mn/W(001):1+9', 'Co/Pt(111):3+10', 'Ir/Co/Pt(111):2+1+3' (two layers of Ir on one of Co on three of Pt).
    **changes
        Arguments of `geometry.bilayer` that differ (strain, substitutions, stacking, spacings, vacuum, ...), and
        `kinds`. A cap in `changes` may leave its spacings to the estimate.

    Returns
    -------
    StructureData
        Made by the calcfunction `build_bilayer`.

    Raises
    ------
    InputError
        If the text is none of these, or an element is not in `CRYSTALS`.
    """
    return bilayer_structure(**film_arguments(text, **changes))


def film_arguments(text: str, **changes: Any) -> dict[str, Any]:
    """Arguments of `bilayer_structure` for a film by name, every number filled in.

    Parameters and errors as `film`.
    """
    parts = TEXT.fullmatch(text.strip())
    if parts is None:
        raise InputError(f"film: {text!r} was given, expected such as 'Co/Pt(111):3+10', elements from the top down")
    elements, surface, layers = parts[1].split("/"), parts[2], [int(count) for count in parts[3].split("+")]
    if len(elements) != len(layers):
        raise InputError(f"film: {text!r} names {len(elements)} elements and {len(layers)} numbers of layers")
    *above, magnet, substrate = elements
    facet = facet_of(substrate, surface)
    for element in elements:
        crystal_of(element)
    if magnet not in MAGNETS or any(element in MAGNETS for element in [*above, substrate]):
        raise InputError(
            f"film: {text!r} was given, expected one magnet ({', '.join(MAGNETS)}) right above the substrate and no "
            "other; replace single layers by `substitutions`"
        )
    a = changes.get("lattice_constant", CRYSTALS[substrate].a)
    check_length("lattice_constant", a)
    caps = [{"element": element, "layers": count} for element, count in zip(above, layers, strict=False)][::-1]
    arguments: dict[str, Any] = {
        "substrate": substrate,
        "magnet": magnet,
        "facet": facet,
        "lattice_constant": a,
        "substrate_layers": layers[-1],
        "magnet_layers": layers[-2],
        "interface_spacing": layer_spacing(substrate, magnet, facet, a),
    }
    if layers[-2] > 1:
        arguments["magnet_spacing"] = layer_spacing(magnet, magnet, facet, a)
    if facet == "hcp0001" and layers[-1] > 1:
        arguments["substrate_spacing"] = (CRYSTALS[substrate].c or 0.0) / 2 * a / CRYSTALS[substrate].a
    arguments |= dict(KNOWN.get(f"{magnet}/{substrate}({surface})", {})) | changes
    if caps or arguments.get("caps"):
        arguments["caps"] = _complete_caps([*caps, *changes.get("caps", ())], magnet, facet, a)
    return arguments


def co_pt111(magnet_layers: int = 3, substrate_layers: int = 10, **changes: Any) -> orm.StructureData:
    """Co/Pt(111), by default the paper's film: 3 Co on 10 Pt (section VI).

    The paper gives the numbers of layers and refers to its Ref. 9 for the geometry. Here: a = 3.92 Angstrom (Pt,
    experimental), Co-Pt spacing 2.0432 Angstrom (bulk Pt's 2.2632 less 0.22, as in the prototype of 1+1), Co-Co spacing
    1.9165 Angstrom (estimate, `layer_spacing`), fcc stacking, 10.22 Angstrom of vacuum. None of it is relaxed.

    Parameters
    ----------
    magnet_layers, substrate_layers : int
        Layers of Co and Pt; `co_pt111(1, 1)` is the demo's film.
    **changes
        As `film`.
    """
    return film(f"Co/Pt(111):{magnet_layers}+{substrate_layers}", **changes)


def mn_w001(magnet_layers: int = 1, substrate_layers: int = 9, **changes: Any) -> orm.StructureData:
    """Mn/W(001), by default the paper's film: 1 Mn on 9 W (section VI).

    The paper gives the numbers of layers and refers to its Ref. 9 for the geometry. Here: a = 3.165 Angstrom (W,
    experimental), Mn-W spacing 1.4825 Angstrom (bulk W's 1.5825 less 0.1, as in the prototype of 1+3), 12 Angstrom of
    vacuum. None of it is relaxed.

    Parameters
    ----------
    magnet_layers, substrate_layers : int
        Layers of Mn and W; `mn_w001(substrate_layers=3)` is the prototype's film.
    **changes
        As `film`.
    """
    return film(f"Mn/W(001):{magnet_layers}+{substrate_layers}", **changes)


def _complete_caps(
    caps: Sequence[Mapping[str, Any]], magnet: str, facet: str, lattice_constant: float
) -> list[dict[str, Any]]:
    """Caps from below with the spacings that were not given."""
    complete, below = [], magnet
    for cap in caps:
        check_cap(cap)
        element = cap["element"]
        filled = {"layers": 1, "interface_spacing": layer_spacing(below, element, facet, lattice_constant), **cap}
        if filled["layers"] > 1:
            filled.setdefault("spacing", layer_spacing(element, element, facet, lattice_constant))
        complete.append(filled)
        below = element
    return complete

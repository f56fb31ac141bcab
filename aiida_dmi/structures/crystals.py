"""Crystals of the elements, and the distances in films estimated from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.geometry import surface_lattice


@dataclass(frozen=True)
class Crystal:
    """An element's crystal.

    Attributes
    ----------
    lattice : {'fcc', 'bcc', 'hcp'}
    a, c : float
        Lattice constants, Angstrom; c of hcp only.
    """

    lattice: str
    a: float
    c: float | None = None

    @property
    def neighbour_distance(self) -> float:
        """Nearest-neighbour distance, Angstrom."""
        if self.lattice == "fcc":
            return self.a / math.sqrt(2)
        if self.lattice == "bcc":
            return self.a * math.sqrt(3) / 2
        # Six neighbours in the plane and six in the next planes; the shorter of the two.
        return min(self.a, math.hypot(self.a / math.sqrt(3), (self.c or 0.0) / 2))


# Experimental, at room temperature, to 1e-3 Angstrom: CRC Handbook of Chemistry and Physics, "Crystal structures and
# lattice parameters of elements", and Kittel, Introduction to Solid State Physics, chapter 1, table 3 (a test holds
# them to ASE's own table). W and Pt as in the prototypes: 3.165 and 3.92, where 3.1652 and 3.924 were measured.
CRYSTALS: Mapping[str, Crystal] = {
    "Cr": Crystal("bcc", 2.885),
    # alpha-Mn has 58 atoms a cell on four kinds of site; this is delta-Mn, bcc, near 1100 Celsius.
    "Mn": Crystal("bcc", 3.081),
    "Fe": Crystal("bcc", 2.867),
    "Co": Crystal("hcp", 2.507, 4.069),
    "Ni": Crystal("fcc", 3.524),
    "Cu": Crystal("fcc", 3.615),
    "Nb": Crystal("bcc", 3.300),
    "Mo": Crystal("bcc", 3.147),
    "Ru": Crystal("hcp", 2.706, 4.282),
    "Rh": Crystal("fcc", 3.803),
    "Pd": Crystal("fcc", 3.891),
    "Ag": Crystal("fcc", 4.086),
    "Ta": Crystal("bcc", 3.303),
    "W": Crystal("bcc", 3.165),
    "Re": Crystal("hcp", 2.761, 4.456),
    "Ir": Crystal("fcc", 3.839),
    "Pt": Crystal("fcc", 3.92),
    "Au": Crystal("fcc", 4.078),
}

HOLLOW = {"fcc111": 1 / math.sqrt(3), "hcp0001": 1 / math.sqrt(3), "bcc001": 1 / math.sqrt(2), "bcc110": 1 / 2}
"""In-plane distance of a hollow site from its nearest atoms, in units of the surface cell's a1."""

SURFACES = {"fcc": ("111",), "bcc": ("001", "110"), "hcp": ("0001",)}

# What is known better than by the estimate; keys as in the text of `film`, without the layers.
KNOWN: Mapping[str, Mapping[str, float]] = {
    # The prototype's Co/Pt: bulk Pt's layer spacing 2.2632 lowered by 0.22; its cell left 10.22 of vacuum.
    "Co/Pt(111)": {"interface_spacing": 2.0432130552, "vacuum": 10.22},
    # The prototype's Mn/W: bulk W's layer spacing 1.5825 lowered by 0.1, not relaxed.
    "Mn/W(001)": {"interface_spacing": 1.4825},
}


def facet_of(substrate: str, surface: str) -> str:
    """Facet (of `geometry.FACETS`) of a substrate's surface, such as 'fcc111' of Pt and '111'.

    Raises
    ------
    InputError
        If the element is unknown or its crystal has no such surface here.
    """
    lattice = crystal_of(substrate).lattice
    if surface not in SURFACES[lattice]:
        known = " and ".join(f"({name})" for name in SURFACES[lattice])
        raise InputError(f"film: {substrate}({surface}) was given, {substrate} is {lattice}: {known} can be built")
    return f"{lattice}{surface}"


def crystal_of(element: str) -> Crystal:
    """The table's entry of an element; InputError if there is none."""
    if element not in CRYSTALS:
        raise InputError(
            f"film: {element} is not in the table ({', '.join(CRYSTALS)}); use bilayer_structure with its lattice "
            "constant and spacings"
        )
    return CRYSTALS[element]


def layer_spacing(lower: str, upper: str, facet: str, lattice_constant: float) -> float:
    """Estimated distance of two layers in a film: atoms touch as hard spheres.

    An atom of the upper layer stands in the hollow of the lower one, at the in-plane distance h from its nearest
    neighbours there; their distance d is the sum of the atoms' radii, half the nearest-neighbour distance of each
    element's own crystal. So the spacing is sqrt(d^2 - h^2). It reproduces the crystals themselves (hcp: with ideal
    c/a). At an interface expect errors of 0.1 Angstrom: magnetism and the missing neighbours of a surface are not in
    it (Co on Pt(111): 2.09 against the prototype's 2.04; Mn on W(001): 1.52 against 1.48).

    Parameters
    ----------
    lower, upper : str
        Elements.
    facet : str
        As `geometry.bilayer`.
    lattice_constant : float
        a of the substrate, Angstrom, which sets the in-plane lattice.

    Returns
    -------
    float
        Angstrom, rounded to 1e-4.

    Raises
    ------
    InputError
        If an element is unknown, or the atoms are too small for the lattice to touch.
    """
    d = (crystal_of(lower).neighbour_distance + crystal_of(upper).neighbour_distance) / 2
    side = float(surface_lattice(facet, lattice_constant)[0, 0])
    h = HOLLOW[facet] * side
    if d <= h:
        raise InputError(
            f"spacing: {upper} on {lower} does not touch in a lattice of {lattice_constant:g} Angstrom; give "
            "`interface_spacing` and `magnet_spacing`"
        )
    return round(math.sqrt(d**2 - h**2), 4)

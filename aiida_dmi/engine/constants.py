"""Physical constants and unit conversions, CODATA 2018; the one place they are written."""

from __future__ import annotations

BOLTZMANN_EV = 8.617333262e-5
"""Boltzmann constant in eV/K."""

RYDBERG_EV = 13.605693122994
HARTREE_EV = 2 * RYDBERG_EV
BOHR_ANGSTROM = 0.529177210903

HBAR2_OVER_2M = RYDBERG_EV * BOHR_ANGSTROM**2
"""hbar^2 / (2 m_e) in eV*Angstrom^2 (3.80998)."""

ELEMENTARY_CHARGE = 1.602176634e-19
"""Joule per electronvolt."""

HBAR_EV_S = 6.582119569e-16
"""hbar in eV s."""

MEV_PER_ANGSTROM_IN_PJ_PER_M = ELEMENTARY_CHARGE * 1e-3 / 1e-10 * 1e12
"""1 meV/Angstrom = 1.602177 pJ/m: a film's D per cell area becomes a line density of energy."""

EV = 1e3
"""meV per eV, for the tensors that leave the engine in meV*Angstrom."""

LOWEST_TEMPERATURE = 1e-3
"""K; k_BT is 9e-8 eV there. From here on every weight is right to 1e-6 of its largest value (sixty digits in the
tests); below, rounding errors of the band energies, 1e-13 eV, come near k_BT."""

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr "
    "Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir "
    "Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh "
    "Fl Mc Lv Ts Og"
)
ELEMENTS = tuple(_SYMBOLS.split())
"""Chemical symbols in the order of Z, from 1."""

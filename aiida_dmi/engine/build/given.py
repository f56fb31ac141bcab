"""What files may hold."""

from __future__ import annotations

LARGEST = 1e8
"""No length (bohr, Angstrom), energy or number of electrons in a file is larger; what is came from a damaged one."""

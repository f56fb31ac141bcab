"""A film in words: what is printed before a run, in a report and for a model."""

from __future__ import annotations

from aiida_dmi.structures.film import AS_GIVEN, PARTS, Film


def film_in_words(film: Film) -> list[str]:
    """A few lines: layers, normal, thickness, order, and what rules decided."""
    names = ["+".join(dict.fromkeys(film.names[site] for site in layer)) for layer in reversed(film.layers)]
    parts = ", ".join(f"{part} {'/'.join(film.elements(part))}" for part in PARTS if part in film.parts)
    t, rule = film.thickness, film.thickness_rule
    sign = "; the other way D has the other sign" if film.normal == AS_GIVEN and film.vanishing is None else ""
    lines = [
        f"layers     from the top: {', '.join(names)}; {parts}",
        f"normal     {film.normal}{sign}",
        f"thickness  t {rule if t is None else f'= {t:.4f} Angstrom ({rule})'}; cell area {film.area:.4f} Angstrom^2",
    ]
    if film.order is not None:
        moments = ", ".join(f"{kind} {moment:g}" for kind, moment in sorted(film.moments.items()) if moment)
        lines.append(f"order      {film.order} (moments, mu_B: {moments})")
    if film.vanishing is not None:
        lines.append(f"symmetry   {film.vanishing}")
    return [*lines, *(f"note       {decision}" for decision in film.decisions)]

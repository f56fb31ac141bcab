"""Figures: units on the axes, error bands, colours that are safe for colour-blind eyes and on dark pages.

Every function `plot_*` returns a `style.Plot`: a matplotlib Figure that carries its numbers (`table`), a `caption`, and
`write`s itself as PNG, SVG, PDF with the numbers as CSV beside.
"""

"""Figures: units on the axes, error bands, colours that are safe for colour-blind eyes."""

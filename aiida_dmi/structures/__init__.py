"""Slabs: a magnet on a substrate, film normal +z from the substrate to the magnet."""

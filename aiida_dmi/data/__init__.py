"""Data nodes: the Wannier model and the response computed from it."""

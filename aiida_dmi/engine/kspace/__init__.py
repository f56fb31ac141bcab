"""K space: meshes, lattice sums, and the model's operators at any k point."""

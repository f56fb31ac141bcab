"""What is computed: the Wannier model and its file, the Rashba model, operators and the spin frame."""

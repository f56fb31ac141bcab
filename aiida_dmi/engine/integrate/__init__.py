"""The sum over the Brillouin zone: what is asked for, the chemical potential, batches and their sums."""

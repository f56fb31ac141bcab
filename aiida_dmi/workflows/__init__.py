"""WorkChains: from a slab to its Wannier model, and on to D and its decomposition."""

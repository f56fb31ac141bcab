"""Questions to the provenance graph: which films, made with what, and from a number back to the slab."""

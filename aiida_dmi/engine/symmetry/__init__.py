"""The magnetic point group of a model, and models averaged over their space group."""

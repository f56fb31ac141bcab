"""One run: `compute`, specs, and the command line."""

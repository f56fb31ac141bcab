"""Protocols: named sets of inputs, in YAML."""

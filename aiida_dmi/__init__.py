"""aiida-dmi: the Dzyaloshinskii-Moriya interaction of magnetic films from first principles, with provenance."""

__version__ = "0.1.0"

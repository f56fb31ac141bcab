"""The protocols of film.yaml for every workchain that takes a film, with the face that aiida-quantumespresso's have."""

from __future__ import annotations

import pathlib
from typing import Any

from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin

from aiida_dmi.engine.files.yaml_text import load_yaml
from aiida_dmi.workflows.protocols.utils import load_protocol, read_protocols


class FilmProtocols(ProtocolMixin):  # type: ignore[misc]  # the package it comes from has no types
    """`get_available_protocols`, `get_default_protocol` and `get_protocol_inputs` of a workchain."""

    @classmethod
    def get_protocol_filepath(cls) -> pathlib.Path:
        """The file that holds them."""
        return pathlib.Path(__file__).parent / "film.yaml"

    @classmethod
    def get_default_protocol(cls) -> str:
        """The protocol that is taken where none is named."""
        return str(read_protocols()["default_protocol"])

    @classmethod
    def get_available_protocols(cls) -> dict[str, Any]:
        """Name to a mapping with its `description`."""
        return {name: {"description": one["description"]} for name, one in read_protocols()["protocols"].items()}

    @classmethod
    def get_protocol_inputs(
        cls, protocol: str | None = None, overrides: dict[str, Any] | pathlib.Path | None = None
    ) -> dict[str, Any]:
        """Inputs of a protocol with overrides, checked: see `load_protocol`.

        Raises
        ------
        ValueError
            If the protocol is unknown, or a key or a value of the overrides is not possible.
        """
        if isinstance(overrides, pathlib.Path):
            overrides = dict(load_yaml(overrides.read_text(encoding="utf-8")))
        return load_protocol(protocol, overrides)

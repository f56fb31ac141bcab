"""Reading protocols and merging what the user overrides into them."""

from __future__ import annotations

import copy
import functools
from importlib.resources import files
from typing import Any

from aiida_dmi.engine.yaml_text import load_yaml


def load_protocol(name: str | None, overrides: dict[str, Any] | None, height: float = 0.0) -> dict[str, Any]:
    """Inputs of a protocol with the user's overrides.

    Parameters
    ----------
    name : str, optional
        Default: the file's default protocol.
    overrides : dict, optional
        Nested as the protocol; values replace the protocol's.
    height : float
        Of the cell along z, Angstrom: tall ones get `tall_cells`.

    Returns
    -------
    dict
        As `default_inputs` of film.yaml, with `magnetic_moments`; `relax` is None or complete.

    Raises
    ------
    ValueError
        If the protocol or a key of the overrides is unknown; the message names it.
    """
    content = read_protocols()
    name = name or content["default_protocol"]
    if name not in content["protocols"]:
        raise ValueError(f"protocol: {name!r} was given, expected one of {', '.join(content['protocols'])}")
    changes = {key: value for key, value in content["protocols"][name].items() if key != "description"}
    inputs = _merge(content["default_inputs"], changes, "")
    inputs["magnetic_moments"] = content["magnetic_moments"]
    defaults, tall = inputs.pop("relax_defaults"), inputs.pop("tall_cells")
    if height > tall.pop("above"):
        inputs = _merge(inputs, tall, "")
    inputs = _merge(inputs, overrides or {}, "")
    if inputs["relax"] is not None:
        inputs["relax"] = _merge(defaults, inputs["relax"], "relax")
    return inputs


def read_protocols() -> dict[str, Any]:
    """The protocol file: `default_inputs`, and what each of `protocols` changes."""
    return copy.deepcopy(_protocols())


@functools.cache
def _protocols() -> dict[str, Any]:
    """Read once: a campaign asks for every one of its candidates."""
    content: dict[str, Any] = load_yaml((files(__package__) / "film.yaml").read_text(encoding="utf-8"))
    return content


# Below these, keys belong to the program they are for: anything may be added. `relax` is checked on its own.
_OPEN = ("parameters", "magnetic_moments", "response", "soi_masks")
_EXTRA = {"scf": ("kpoints_mesh",), "wannierisation": ("kpoints_mesh",)}


def _merge(base: dict[str, Any], changes: dict[str, Any], path: str) -> dict[str, Any]:
    if not isinstance(changes, dict):
        raise ValueError(f"overrides: {path or 'they'} {changes!r} was given, expected a mapping")
    merged = copy.deepcopy(base)
    section = path.rpartition(".")[2]
    for key, value in changes.items():
        known = key in base or key in _EXTRA.get(section, ()) or any(part in _OPEN for part in path.split("."))
        where = f"{path}.{key}".strip(".")
        if not known:
            expected = ", ".join([*base, *_EXTRA.get(section, ())])
            raise ValueError(f"overrides: {where} is unknown; expected one of {expected}")
        if isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value, where)
        else:
            merged[key] = copy.deepcopy(value)
    return merged

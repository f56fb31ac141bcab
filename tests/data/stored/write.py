"""Write the pinned files of the present format versions: python tests/data/stored/write.py (once a version).

What lies here is what users have stored. Files of older versions stay for ever; none is ever written again.
"""

import json
import sys
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.manage.configuration import profile_context
from aiida.storage.sqlite_temp import SqliteTempBackend
from aiida.tools.archive import create_archive

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine import WannierModel, compute, load_result, save_result
from aiida_dmi.engine.model import file as model_file
from aiida_dmi.engine.output import results

HERE = Path(__file__).parent
SETTINGS = {
    "mesh": 4,
    "directions": [(0, 0, 1), (1, 0, 0)],
    "soi_masks": {"all": [1, 1], "Pt": [0, 1]},
    "soi_scales": [0.5, 1.0],
    "fermi_shifts": [-0.1, 0.0, 0.2],
    "temperatures": [300.0],
    "quantities": ["D", "Q", "a_I", "a_II", "D_1"],
}
"""Axes of different lengths where that is possible: one taken for another is seen."""


def small_model() -> WannierModel:
    """Two atoms, two functions, 2x2 k points at which time reversal leaves every matrix real."""
    random = np.random.default_rng(20261122)
    q, n, p = 4, 2, 3

    def numbers(*shape):
        return random.normal(size=shape).round(3)

    def symmetric(*shape):
        matrix = numbers(*shape, n, n)
        return (matrix + matrix.swapaxes(-1, -2)).astype(complex)

    antisymmetric = numbers(2, 3, p, p)
    return WannierModel(
        cell=np.array([[2.6, 0.0, 0.0], [0.4, 2.9, 0.0], [0.0, 0.0, 14.0]]),
        periodic=np.array([True, True, False]),
        symbols=("Co", "Pt"),
        positions=np.array([[0.1, -0.2, 0.3], [1.0, 0.9, 2.1]]),
        mesh=(2, 2, 1),
        kpoints=np.array([[0, 0, 0], [0, 0.5, 0], [0.5, 0, 0], [0.5, 0.5, 0]]),
        fermi_energy=0.1,
        electrons=1.9,
        centres=np.array([[[0.1, -0.2, 0.3], [1.0, 0.9, 2.1]], [[0.1, -0.2, 0.4], [1.0, 0.9, 2.2]]]),
        hamiltonian=symmetric(2, q) + np.diag([0.5, -0.25]) * np.array([1, -1]).reshape(2, 1, 1, 1),
        position=symmetric(2, q, 3),
        overlap=(np.eye(n) + 0.01 * numbers(q, n, n)).astype(complex),
        projections=tuple(numbers(2, q, p, n).astype(complex) for _ in range(2)),
        coupling=tuple(0.2j * (h - h.swapaxes(-1, -2)) for h in antisymmetric),
        moments=np.array([1.75, 0.25]),
        attributes={"built_by": "a test", "windows": np.array([-8.0, 2.5])},
        gradients=tuple(numbers(2, q, 3, p, n).astype(complex) for _ in range(2)),
    )


def plain(values):
    """Numbers and texts for JSON; complex ones as [real, imaginary] in the last axis."""
    array = np.asarray(values)
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], axis=-1)
    if array.dtype.kind == "S":
        array = array.astype(str)
    if array.dtype.kind == "f":
        return np.where(np.isnan(array), None, array.astype(object)).tolist()
    return array.tolist()


def numbers_of(model: WannierModel):
    """Every field of a model."""
    return {
        name: [plain(one) for one in value] if isinstance(value, tuple) else value if value is None else plain(value)
        for name, value in vars(model).items()
        if name != "attributes"
    } | {"attributes": {key: plain(value) for key, value in model.attributes.items()}}


def content_of(result):
    """Every variable and attribute of a result."""
    return {
        "variables": {
            name: {"dims": list(variable.dims), "values": plain(variable.values), "attrs": dict(variable.attrs)}
            for name, variable in result.variables.items()
        },
        "attrs": {name: plain(value) for name, value in result.attrs.items()},
    }


def write(name: str, content) -> None:
    with (HERE / name).open("x", encoding="utf-8") as file:
        json.dump(content, file, separators=(",", ":"))
        file.write("\n")


def main() -> None:
    model_path = HERE / f"model-{model_file.VERSION}.h5"
    result_path = HERE / f"result-{results.VERSION}.nc"
    archive = HERE / f"nodes-{model_file.VERSION}-{results.VERSION}.aiida"
    if archive.exists():
        sys.exit(f"{archive.name} is there already: a version is written once")
    if not model_path.exists():
        small_model().save(model_path)
        write(f"{model_path.stem}.json", numbers_of(WannierModel.load(model_path)))
    if not result_path.exists():
        save_result(compute(WannierModel.load(model_path), **SETTINGS), result_path)
        write(f"{result_path.stem}.json", content_of(load_result(result_path)))
    with profile_context(SqliteTempBackend.create_profile("stored"), allow_switch=True):
        orm.User(email="aiida@localhost").store()
        nodes = [WannierModelData(model_path).store(), DmiData(result_path).store()]
        create_archive(nodes, filename=archive, compression=9)
        write(f"{archive.stem}.json", {node.uuid: node.base.attributes.all for node in nodes})


if __name__ == "__main__":
    main()

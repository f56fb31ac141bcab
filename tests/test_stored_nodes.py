"""A DmiData and a WannierModelData of every format version, as users have them in archives, stay readable."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from aiida import orm
from aiida.tools.archive import import_archive

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine.model import file as model_file
from aiida_dmi.engine.output import results

STORED = Path(__file__).parent / "data" / "stored"
NEWEST = STORED / f"nodes-{model_file.VERSION}-{results.VERSION}.aiida"


def imported(archive):
    """Nodes of an archive by class, and the attributes that they were stored with."""
    import_archive(archive)
    attributes = json.loads(archive.with_suffix(".json").read_text(encoding="utf-8"))
    nodes = {type(node): node for node in map(orm.load_node, attributes)}
    assert set(nodes) == {WannierModelData, DmiData}
    return nodes, attributes


@pytest.fixture(scope="module", params=sorted(STORED.glob("*.aiida")), ids=lambda path: path.stem)
def stored(request, aiida_profile):
    return imported(request.param)


def text_of(node):
    """The numbers of a node's file, which lies beside the archive under the same name."""
    return json.loads((STORED / node.filename).with_suffix(".json").read_text(encoding="utf-8"))


def test_attributes_as_they_were_stored(stored):
    """What queries filter by: names and values, exactly."""
    nodes, attributes = stored
    for node in nodes.values():
        assert node.base.attributes.all == attributes[node.uuid]
        assert f"-{node.base.attributes.get('format_version')}." in node.filename


def test_every_number_of_the_response(stored):
    nodes, _ = stored
    text = text_of(nodes[DmiData])["variables"]
    found = nodes[DmiData].dataset
    assert found.variables.keys() == text.keys()
    for name, variable in found.variables.items():
        assert list(variable.dims) == text[name]["dims"]
        assert variable.attrs == text[name]["attrs"]
        if variable.dtype.kind == "f":
            np.testing.assert_array_equal(variable.values, np.array(text[name]["values"], dtype=float), err_msg=name)
        else:
            assert variable.values.tolist() == text[name]["values"]
    assert found.D.attrs["units"] == "meV angstrom"
    assert np.abs(found.D).max() > 1.0


def test_every_number_of_the_model(stored):
    nodes, _ = stored
    text = text_of(nodes[WannierModelData])
    model = nodes[WannierModelData].load()
    for name in ("hamiltonian", "position", "overlap"):
        found = getattr(model, name)
        np.testing.assert_array_equal(np.stack([found.real, found.imag], axis=-1), text[name])
    for name in ("cell", "positions", "kpoints", "centres", "moments", "fermi_energy", "electrons"):
        np.testing.assert_array_equal(getattr(model, name), text[name])


@pytest.mark.parametrize("kind", [WannierModelData, DmiData])
def test_a_node_made_now_has_the_same_attributes(aiida_profile, kind):
    """New names, or another type of a value, need another format version."""
    old = imported(NEWEST)[0][kind]
    new = kind(STORED / old.filename).store().base.attributes.all
    assert {name: type(value) for name, value in new.items()} == {
        name: type(value) for name, value in old.base.attributes.all.items()
    }
    assert new == old.base.attributes.all | {key: new[key] for key in ("engine_version",) if key in new}


def test_nodes_from_before_the_attribute(aiida_profile):
    """Nodes made before `format_version` was noted hold version 1 in their file."""
    loaded = []
    for kind, name in ((WannierModelData, "model-1.h5"), (DmiData, "result-1.nc")):
        node = kind(STORED / name)
        node.base.attributes.delete("format_version")
        node.store()
        loaded.append(orm.load_node(node.pk))
        assert "format_version" not in loaded[-1].base.attributes.all
    assert loaded[0].load().symbols == ("Co", "Pt")
    assert loaded[1].dataset.attrs["version"] == 1


@pytest.mark.parametrize(("kind", "name"), [(WannierModelData, "model-1.h5"), (DmiData, "result-1.nc")])
def test_a_file_of_a_newer_program_becomes_no_node(aiida_profile, tmp_path, kind, name):
    (tmp_path / name).write_bytes((STORED / name).read_bytes())
    with h5py.File(tmp_path / name, "a") as file:
        file.attrs["version"] = 99
    with pytest.raises(ValueError, match="version 99 was given, made by a newer aiida-dmi") as caught:
        kind(tmp_path / name)
    assert "pip install --upgrade aiida-dmi" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)

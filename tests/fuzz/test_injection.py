"""What is read cannot run anything, read or write elsewhere, or grow without bound."""

import ast
import io
import os
import pickle
import subprocess
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
from aiida import orm

import aiida_dmi
from aiida_dmi.cli.inputs import load_overrides
from aiida_dmi.containers.codes import resolve_image
from aiida_dmi.containers.configuration import ContainerError, engine, layout, render
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine import InputError, WannierModel, load_result
from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.build.quantum_espresso import SCHEMA, SaveFolder
from aiida_dmi.engine.checkpoint import Checkpoint
from aiida_dmi.engine.cli import main
from aiida_dmi.engine.settings import Settings
from aiida_dmi.screening.spec import parse_spec, read_spec

PACKAGE = Path(aiida_dmi.__file__).parent
SHELL = [
    "a; touch {0}",
    "$(touch {0})",
    "`touch {0}`",
    "a' ; touch {0}; '",
    'a" ; touch {0}; "',
    "a\ntouch {0}",
    "a|touch {0}",
]
TAGS = [
    "!!python/object/apply:os.system ['touch {0}']",
    "!!python/object/apply:subprocess.check_call [['touch', '{0}']]",
    "!!python/object/new:pathlib.Path ['{0}']",
    "!!python/name:os.system",
]
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML_READERS = {
    "run": (lambda path: _engine("run", path), None),
    "build": (lambda path: _engine("build", path), None),
    "overlaps": (lambda path: _engine("overlaps", path), None),
    "screen": (read_spec, InputError),
    "overrides": (lambda path: load_overrides(str(path), ()), click.UsageError),
    "--set": (lambda path: load_overrides(None, (f"response.mesh={path.read_text()}",)), click.UsageError),
}


def _engine(command, path):
    if main([command, str(path)]) == 2:
        raise InputError("refused")


@pytest.mark.parametrize("reader", YAML_READERS)
@pytest.mark.parametrize(
    "text", [*(f"mesh: {tag}\n" for tag in TAGS), LAUGHS, "a: &a [*a]\n"], ids=range(len(TAGS) + 2)
)
def test_yaml_makes_no_objects_and_stays_small(reader, text, tmp_path, capsys):
    path, touched = tmp_path / "spec.yaml", tmp_path / "touched"
    path.write_text(text.replace("{0}", str(touched)))
    read, refusal = YAML_READERS[reader]
    with pytest.raises(refusal or InputError):
        read(path)
    assert not touched.exists()
    assert len(capsys.readouterr().err) < 2000


ENTITIES = '<!DOCTYPE x [<!ENTITY a "{bomb}"><!ENTITY b "{more}"><!ENTITY c SYSTEM "file:///etc/passwd">]>\n'


@pytest.mark.parametrize("use", ["&b;", "&c;"])
def test_xml_entities(use, tmp_path, data_folder, upf_folder):
    """Neither expanded without bound nor read from other files."""
    entities = ENTITIES.format(bomb="x" * 10_000, more="&a;" * 100_000)
    upf = (upf_folder / "H.UPF").read_text().replace("<UPF", f"{entities}<UPF", 1).replace("<PP_R ", f"{use}<PP_R ", 1)
    with pytest.raises(InputError) as caught:
        Pseudopotential.from_text(upf)
    assert "root:" not in str(caught.value)
    schema = (data_folder / "hydrogen-film" / "data-file-schema-7.2.xml").read_text()
    declaration, _, rest = schema.partition("?>")
    (tmp_path / SCHEMA).write_text(f"{declaration}?>\n{entities}{rest}".replace("<output>", f"<output>{use}", 1))
    with pytest.raises(InputError) as caught:
        SaveFolder.read(tmp_path)
    assert "root:" not in str(caught.value)


class Touch:
    """Unpickled, it runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_checkpoint_never_unpickles(tmp_path):
    touched = tmp_path / "touched"
    thing = np.empty(1, dtype=object)
    thing[0] = Touch(touched)
    np.savez(tmp_path / "sums.npz", key="key", stage="4x4", done=1, D=thing)
    with pytest.raises(InputError, match="remove it to start anew"):
        Checkpoint(tmp_path / "sums.npz", "key").load("4x4")
    (tmp_path / "pickled").write_bytes(pickle.dumps(Touch(touched)))
    with pytest.raises(InputError, match="remove it to start anew"):
        Checkpoint(tmp_path / "pickled", "key").load("4x4")
    assert not touched.exists()


@pytest.fixture
def foreign(tmp_path, model_file):
    """A model file to change, beside a file that is none of its."""
    (tmp_path / "secret").write_bytes(bytes(range(256)) * 4)
    path = tmp_path / "model.h5"
    path.write_bytes(model_file.read_bytes())
    return path


def link(file):
    file["cell"] = h5py.ExternalLink("secret.h5", "/cell")


def external(file):
    file.create_dataset("cell", shape=(3, 3), dtype="f8", external=[("secret", 0, 72)])


def virtual(file):
    layout = h5py.VirtualLayout(shape=(3, 3), dtype="f8")
    layout[:] = h5py.VirtualSource("secret.h5", "cell", shape=(3, 3))
    file.create_virtual_dataset("cell", layout)


def promised(file):
    file.create_dataset("cell", shape=(10**6, 10**6), dtype="f8", chunks=True)


def packed(file):
    file.create_dataset("cell", data=np.zeros((1024, 1024, 8)), compression="gzip", compression_opts=9)


def never_written(file):
    file.create_dataset("cell", shape=(3, 3), dtype="f8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (link, "is a link to another file"),
        (external, "takes its values from another file"),
        (virtual, "takes its values from another file"),
        (promised, "never written"),
        (packed, "promises 67108864 bytes"),
        (never_written, "dataset cell was never written"),
    ],
)
def test_hdf5_is_whole_and_of_one_file(change, words, foreign):
    with h5py.File(foreign, "r+") as file:
        del file["cell"]
        change(file)
    with pytest.raises(InputError, match=words) as caught:
        WannierModel.load(foreign)
    assert str(caught.value).startswith(f"model {foreign}: ")


def test_heap_that_hdf5_reads_for_ever(chain_result, tmp_path):
    """Zeros where a global heap's objects were, as a disk leaves them after a crash."""
    content = bytearray(chain_result.read_bytes())
    start = content.index(b"GCOL")
    content[start + 16 : start + 200] = bytes(184)
    path = tmp_path / "result.nc"
    path.write_bytes(content)
    with pytest.raises(InputError, match="texts and lists are damaged"):
        load_result(path)


@pytest.fixture(scope="module")
def chain_result(tmp_path_factory):
    from aiida_dmi.engine import RashbaModel, compute, save_result

    path = tmp_path_factory.mktemp("rashba") / "result.nc"
    save_result(compute(RashbaModel(1.0, 0.1), mesh=4, cutoff=1.0), path)
    return path


def test_name_of_a_stored_file_stays_in_its_folder(aiida_profile, model_file, tmp_path):
    """A node's file is read under its last name only, whatever it is called."""
    node = WannierModelData(io.BytesIO(model_file.read_bytes()), filename="model.h5")
    node.base.attributes.set("filename", "../../model.h5")
    node.base.repository.put_object_from_filelike(io.BytesIO(model_file.read_bytes()), "model.h5")
    with pytest.raises((ValueError, OSError)):
        node.load()
    assert not (tmp_path.parent / "model.h5").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "$(x)", "a;b", "", "\n"])
def test_name_of_a_campaign(name):
    with pytest.raises(InputError, match="name: "):
        parse_spec({"name": name, "systems": [{"film": "Co/Pt(111)", "layers": "1+1"}]})


# -- shells --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", SHELL)
def test_work_folder_and_image_of_a_container(text, tmp_path):
    """Both stand in job scripts, where AiiDA puts them between double quotes."""
    word = text.format(tmp_path / "touched")
    with pytest.raises(ContainerError, match="work folder"):
        render(engine("podman"), layout("aiida-dmi"), "pw", "sha256:0", f"/{word}", 1)
    with pytest.raises(ContainerError, match="image"):
        resolve_image(engine("apptainer"), f"/{word}.sif", None)


@pytest.mark.parametrize("text", [text for text in SHELL if not text.isprintable()])
def test_label_of_a_mask_is_one_line(text):
    with pytest.raises(InputError, match=r"soi_masks: .* expected a name of printable characters"):
        Settings.checked(dimension=2, atoms=2, mesh=4, soi_masks={text: [1.0, 0.0]})


@pytest.mark.parametrize("text", [text for text in SHELL if text.isprintable()])
def test_label_of_a_mask_reaches_no_shell(text, aiida_profile, codes, model_node, tmp_path):
    """Names that users choose stand in YAML files; the job script is the same for all of them."""
    from aiida.common.folders import SandboxFolder
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    from aiida_dmi.calculations.response import DmiCalculation

    builder = DmiCalculation.get_builder()
    builder.code, builder.model = codes["engine"], model_node
    masks = {text.format(tmp_path / "touched"): [1.0, 0.0]}
    builder.parameters = orm.Dict({"mesh": 4, "soi_masks": masks})
    builder.metadata.label = text[:200]
    builder.metadata.options.resources = {"num_machines": 1}
    process = instantiate_process(get_manager().get_runner(), builder)
    with SandboxFolder() as folder:
        info = process.presubmit(folder)
        script = Path(folder.abspath, "_aiidasubmit.sh").read_text()
    assert info.codes_info
    assert "touch" not in script.replace(str(tmp_path), "")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


FORBIDDEN = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "yaml.unsafe_load",
    "yaml.full_load",
}
"""Not called anywhere in the package."""


def test_source_has_no_way_to_run_what_it_reads():
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            options = {option.arg: option.value for option in node.keywords}
            shell = options.get("shell")
            unsafe = ast.unparse(node.func) in FORBIDDEN or (shell is not None and ast.unparse(shell) != "False")
            pickles = "allow_pickle" in options and ast.unparse(options["allow_pickle"]) != "False"
            if unsafe or pickles:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}")
    assert found == []

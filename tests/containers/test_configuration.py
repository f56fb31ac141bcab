"""The shipped configurations, and the command lines that come of them."""

import re

import pytest
import yaml
from click.testing import CliRunner

from aiida_dmi.cli import cli
from aiida_dmi.containers.configuration import ContainerError, available, check_mpi, engine, find_layout, layout, render

ALL = [(e, i, program) for e in available("engines") for i in available("images") for program in layout(i).programs]


def test_what_is_shipped():
    assert available("engines") == ["apptainer", "docker", "podman"]
    assert available("images") == ["aiida-dmi", "aiidalab-qe", "nvidia-qe"]


@pytest.mark.parametrize(("engine_name", "image", "program"), ALL)
def test_every_configuration_renders(engine_name, image, program):
    """Only AiiDA's own placeholder is left, and the work folder keeps its path."""
    made = render(engine(engine_name), layout(image), program, "NAME@sha256:0", "/scratch/me", 4)
    command = made["engine_command"]
    assert re.findall(r"\{.*?\}", command) == ["{image_name}"]
    assert command.format(image_name="x").split() == command.replace("{image_name}", "x").split(" ")
    assert "/scratch/me:/scratch/me" in command
    assert made["filepath_executable"] == layout(image).programs[program]


def test_podman_runs_parallel_programs_as_ranks_inside():
    made = render(engine("podman"), layout("aiida-dmi"), "pw", "sha256:0", "/w", 2)
    assert made["engine_command"] == (
        "podman run --rm -i --network=none --user=0:0 --shm-size=1g --env=OMP_NUM_THREADS --volume=/w:/w "
        "--workdir=$PWD {image_name} mpirun -np 2"
    )
    assert made["with_mpi"] is False
    serial = render(engine("podman"), layout("aiida-dmi"), "wannier90", "sha256:0", "/w", 2)
    assert serial["engine_command"].endswith("{image_name}")


def test_docker_runs_as_the_user():
    made = render(engine("docker"), layout("aiida-dmi"), "pw", "sha256:0", "/w", 2)
    assert "--user=$UID:$GROUPS" in made["engine_command"]
    assert made["with_mpi"] is False


def test_apptainer_leaves_the_ranks_to_the_host():
    made = render(engine("apptainer"), layout("aiida-dmi"), "pw", "/images/dmi.sif", "/w", 2)
    assert made["engine_command"] == "apptainer exec --bind=/w:/w --pwd=$PWD {image_name}"
    assert made["with_mpi"] is None
    inside = render(engine("apptainer"), layout("aiida-dmi"), "pw", "/images/dmi.sif", "/w", 2, "inside")
    assert inside["engine_command"].endswith("{image_name} mpirun -np 2")
    assert inside["with_mpi"] is False


def test_public_images():
    """Their entry points are switched off, their programs have full paths, GPUs are passed on."""
    made = render(engine("docker"), layout("aiidalab-qe"), "pw", "x", "/w", 2)
    assert "--entrypoint= {image_name} /opt/conda/envs/quantum-espresso-7.4/bin/mpirun -np 2" in made["engine_command"]
    for name, option in {"docker": "--gpus=all", "podman": "--device=nvidia.com/gpu=all", "apptainer": "--nv"}.items():
        assert f" {option} " in render(engine(name), layout("nvidia-qe"), "pw", "x", "/w")["engine_command"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("aiida-dmi", ("aiida-dmi", "localhost/aiida-dmi:latest")),
        ("aiidalab-qe", ("aiidalab-qe", layout("aiidalab-qe").image)),
        ("ghcr.io/aiidalab/qe:v25.10", ("aiidalab-qe", "ghcr.io/aiidalab/qe:v25.10")),
        ("docker://ghcr.io/aiidalab/qe@sha256:00", ("aiidalab-qe", "docker://ghcr.io/aiidalab/qe@sha256:00")),
        ("nvcr.io/hpc/quantum_espresso:qe-7.1", ("nvidia-qe", "nvcr.io/hpc/quantum_espresso:qe-7.1")),
        ("registry.example:5000/group/aiida-dmi", ("aiida-dmi", "registry.example:5000/group/aiida-dmi")),
        ("/images/dmi.sif", ("aiida-dmi", "/images/dmi.sif")),
    ],
)
def test_layout_of_an_image(image, expected):
    found, name = find_layout(image)
    assert (found.name, name) == expected


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_host_mpirun_is_refused(name):
    with pytest.raises(ContainerError, match=rf"mpirun in front of {name} starts independent runs.*'inside'"):
        check_mpi(engine(name), "host", 2)


@pytest.mark.parametrize("workdir", ["relative", "/with blank", "/a:b", "/home/{username}", "/$HOME", '/a"b'])
def test_work_folders_that_cannot_be_bound(workdir):
    with pytest.raises(ContainerError, match="work folder"):
        render(engine("podman"), layout("aiida-dmi"), "pw", "x", workdir)


def test_bad_input_is_one_line():
    for call, words in (
        (lambda: engine("lxc"), "engine: 'lxc' was given, expected one of apptainer, docker, podman"),
        (lambda: check_mpi(engine("podman"), None, 0), "np: 0 was given, expected 1 or more"),
        (lambda: check_mpi(engine("podman"), "outside", 1), "expected one of inside, host"),
        (lambda: render(engine("podman"), layout("nvidia-qe"), "engine", "x", "/w"), "nvidia-qe has no engine"),
    ):
        with pytest.raises(ContainerError) as caught:
            call()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_rendered_yaml_is_what_verdi_takes():
    arguments = ["--engine", "podman", "--workdir", "/w", "--computer", "C", "--np", "3"]
    done = CliRunner().invoke(cli, ["containers", "render", *arguments], catch_exceptions=False)
    documents = list(yaml.safe_load_all(done.output))
    assert [document["label"] for document in documents] == ["pw", "pw2wannier90", "pp", "wannier90", "engine"]
    assert documents[0]["engine_command"].endswith("mpirun -np 3")
    assert documents[4]["default_calc_job_plugin"] == "dmi.model"

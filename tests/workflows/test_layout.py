"""Sizes of a film, what its steps are estimated to take, and how its jobs are laid out."""

import dataclasses
import json
from datetime import datetime
from pathlib import Path

import pytest
from aiida import orm
from aiida.plugins import WorkflowFactory
from hypothesis import given
from hypothesis import strategies as st

from aiida_dmi.engine.build.irreducible import gamma_centred, reduced
from aiida_dmi.structures.bilayer import co_pt111, film
from aiida_dmi.workflows import estimate, layout
from aiida_dmi.workflows.estimate import FilmSize
from aiida_dmi.workflows.layout import Resources, pw_layout, response_layout

DmiWorkChain = WorkflowFactory("dmi.dmi")
ROOT = Path(__file__).parents[2]
NUMBERS = ROOT / "validation" / "numbers.json"

MIB = 1024**2
MEASURED = {
    "mnw-1-2": "Mn/W(001):1+2",
    "copt-1-2-relaxed": "Co/Pt(111):1+2",
    "copt-1-3": "Co/Pt(111):1+3",
    "mnw-1-1-6x6": "Mn/W(001):1+1",
    "mnw-1-1-9x9": "Mn/W(001):1+1",
    "mnw-1-1-70ry": "Mn/W(001):1+1",
    "copt-1-1-6x6": "Co/Pt(111):1+1",
    "copt-1-1-70ry": "Co/Pt(111):1+1",
}
"""Runs of validation/ on two ranks with OpenBLAS, scf and nscf, half of the k points in the nscf."""
THIN = FilmSize(2, 35.0, 96, 3287.6, (24, 24, 108), 18, 22, 44, 32, 10, 7, 36, check_points=21)
"""Co/Pt(111) 1+1, protocol fast."""
RESPONSE = {"mesh": 192, "soi_scales": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]}


@pytest.fixture
def build(codes, pseudo_family):
    def made(structure=None, overrides=None, **arguments):
        inputs = {"pseudo_family": pseudo_family.label, **(overrides or {})}
        return DmiWorkChain.get_builder_from_protocol(codes, structure or co_pt111(1, 1), overrides=inputs, **arguments)

    return made


@pytest.fixture
def benchmark_modules(monkeypatch):
    """Modules of benchmarks/ can be imported."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.syspath_prepend(ROOT / "validation")


@pytest.fixture
def memory(computer):
    """Say how much a machine of the tests' computer has."""
    before = computer.get_default_memory_per_machine()
    yield computer.set_default_memory_per_machine
    computer.set_default_memory_per_machine(before)


# -- sizes and estimate ------------------------------------------------------------------------------------


def test_sizes_are_those_that_pw_prints(build):
    """Grid, bands, k points and projectors of Co/Pt(111) 1+1 as pw.x's output of the validation run has them."""
    size = layout.size_of(co_pt111(1, 1), build().wannier_model)
    # Its k points have 3263 to 3296 plane waves.
    assert size.plane_waves == pytest.approx(THIN.plane_waves, rel=1e-4)
    assert dataclasses.replace(size, plane_waves=THIN.plane_waves) == THIN


@pytest.mark.parametrize("step", ["scf", "bands", "nscf"])
def test_memory_is_what_pw_says(step):
    """pw.x's own account of a rank, two pools of one rank (MiB), but for its interpolation tables (15.9 MiB)."""
    own = {"scf": 63.78, "bands": 39.21, "nscf": 43.98}[step]
    dynamical = estimate.pw_bytes(THIN, step, 2, 1) - estimate.PROGRAM
    assert dynamical == pytest.approx((own - 15.9) * MIB, rel=0.3)


def test_memory_of_a_rank():
    """A rank of pw.x for Co/Pt 1+1 with 16 Ry and 2x2 points took 51 MB at its peak (scf), 46 (bands), 47 (nscf)."""
    tiny = FilmSize(2, 35.0, 96, 595.0, (15, 15, 60), 18, 22, 44, 32, 2, 4, 4)
    for step, peak in (("scf", 51e6), ("bands", 46e6), ("nscf", 47e6)):
        assert 0.67 < estimate.pw_bytes(tiny, step, 2, 1) / (1.024 * peak) < 1.5


@pytest.mark.parametrize("label", MEASURED)
def test_estimate_is_good_to_a_factor_of_two(build, benchmark_modules, label):
    """Against runs from 2 to 4 atoms, 45 to 70 Ry, 13 to 41 k points: a rank's processor time where it was kept."""
    from cost_runs import pw_clock

    record = json.loads(NUMBERS.read_text())[label]["record"]
    cutoff = record["ecutwfc_ry"]
    parameters = {"SYSTEM": {"ecutwfc": cutoff, "ecutrho": 4 * cutoff}}
    overrides = {
        "scf": {"kpoints_mesh": record["scf_mesh"], "parameters": parameters},
        "wannierisation": {"kpoints_mesh": record["wannier_mesh"]},
    }
    structure = film(MEASURED[label])
    size = layout.size_of(structure, build(structure, overrides).wannier_model)
    size = dataclasses.replace(size, nscf_points=len(reduced(gamma_centred([*record["wannier_mesh"], 1][:3])).kept))
    outputs = record.get("pw_output", {})
    for step in ("scf", "nscf"):
        measured = pw_clock(outputs[step])[0] if outputs else dict(record["seconds"])[f"PwCalculation {step}"]
        estimated = estimate.points_of(size, step) / 2 * estimate.point_seconds(size, step)
        assert 0.5 < estimated / measured < 2


def test_page_has_the_present_coefficients(benchmark_modules):
    """docs/cost.md and cost.yaml come from one run of benchmarks/cost.py."""
    from cost_page import coefficient_table, completeness_table, paper_table, response_table

    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    measured = json.loads((ROOT / "benchmarks" / "response-times.json").read_text())
    compared = json.loads((ROOT / "benchmarks" / "completeness-times.json").read_text())
    for table in (coefficient_table(), paper_table(), response_table(measured), completeness_table(compared)):
        assert table in page
    for entry in measured:
        settings = {"mesh": entry["mesh"], "soi_scales": [1.0] * entry["xi"]}
        assert 0.5 < estimate.response_seconds(entry["functions"], settings) / entry["seconds"] < 2


def test_clock_of_pw(benchmark_modules):
    from cost_runs import pw_clock

    start = "Program PWSCF v.6.7MaX starts on 22Nov2026 at 15:52: 3"
    for words, seconds in (("5.09s", 5.09), ("1m23.45s", 83.45), ("2h 3m", 7380.0), ("1d 2h", 93600.0)):
        found, began = pw_clock([start, f"PWSCF        :   {words} CPU   1m25.67s WALL"])
        assert found == pytest.approx(seconds)
        assert began == datetime(2026, 11, 22, 15, 52, 3)


def test_estimate_follows_what_is_computed():
    """Linear in k points, directions and masks; an offset in xi; more than quadratic in the film's size."""
    once = estimate.response_seconds(18, {"mesh": 96})
    assert estimate.response_seconds(18, {"mesh": 192}) == pytest.approx(4 * once, rel=0.05)
    assert estimate.response_seconds(18, {"mesh": [192, 48]}) == pytest.approx(once)
    assert estimate.response_seconds(18, {"max_mesh": 96, "tolerance": 0.1}) == pytest.approx(once)
    axes = {"directions": [[0, 0, 1], [1, 0, 0]], "soi_masks": {"a": [1], "b": [0], "c": [1]}}
    assert estimate.response_seconds(18, {"mesh": 96, **axes}) == pytest.approx(6 * once, rel=0.05)
    assert once < estimate.response_seconds(18, {"mesh": 96, "soi_scales": [0.5, 1.0]}) < 2 * once
    assert estimate.response_seconds(36, {"mesh": 96}) > 4 * once
    twice = dataclasses.replace(THIN, nscf_points=14)
    assert estimate.points_of(twice, "nscf") == 2 * estimate.points_of(THIN, "nscf")
    assert estimate.point_seconds(THIN, "spin_orbit_bands") > 4 * estimate.point_seconds(THIN, "bands")
    assert estimate.point_seconds(THIN, "relax") > 2 * estimate.point_seconds(THIN, "scf")


def test_grid_has_small_primes():
    assert estimate.fft_grid([[5.238, 0, 0], [0, 5.238, 0], [0, 0, 23.174]], 200.0) == (24, 24, 108)
    assert estimate.fft_grid([[1e-3, 0, 0], [0, 14.0, 0], [0, 0, 100.0]], 50.0) == (1, 32, 225)


# -- pools and processes -----------------------------------------------------------------------------------


@given(
    machines=st.integers(1, 4),
    ranks=st.integers(1, 130),
    step=st.sampled_from(["relax", "scf", "bands", "nscf", "spin_orbit_bands"]),
    memory=st.none() | st.floats(1e7, 1e12),
)
def test_pools_divide_the_ranks_and_the_points(machines, ranks, step, memory):
    resources = Resources(machines, ranks, memory)
    chosen = pw_layout(THIN, step, resources)
    assert resources.ranks % chosen.parts == 0
    assert 1 <= chosen.parts <= {"nscf": 7, "bands": 21, "spin_orbit_bands": 21}.get(step, 10)
    assert chosen.words.count("\n") == 0
    least = min(
        pw_layout(THIN, step, resources, n).memory for n in range(1, chosen.parts + 1) if resources.ranks % n == 0
    )
    assert memory is None or chosen.memory <= 0.9 * memory or chosen.memory == least


def test_pools_come_first_and_leave_no_rank_idle():
    two = pw_layout(THIN, "scf", Resources(1, 2))
    assert two.words == f"2 ranks in 2 pools, about {two.memory / 1e9:.1f} GB a machine (10 k points; pools do not " \
                        "have to talk to each other)"  # fmt: skip
    assert pw_layout(THIN, "scf", Resources(1, 1)).what == "1 rank in 1 pool"
    # 8 pools have 3 of the 20 (k, spin) at most, 4 have 5, with twice the ranks for each.
    eight = pw_layout(THIN, "scf", Resources(1, 8))
    assert (eight.parts, eight.why) == (4, "10 k points leave ranks of 8 pools idle")


def test_memory_bounds_the_pools():
    thick = dataclasses.replace(THIN, plane_waves=2e4, nscf_bands=500, grid=(60, 60, 200), nscf_points=64)
    free = pw_layout(thick, "nscf", Resources(1, 16))
    assert free.parts == 16
    bound = pw_layout(thick, "nscf", Resources(1, 16, memory=free.memory / 2))
    assert bound.parts < 16
    assert bound.memory < 0.9 * free.memory / 2
    assert bound.why == f"16 pools, the fastest, would take {free.memory / 1e9:.1f} GB a machine"
    none = pw_layout(thick, "nscf", Resources(1, 16, memory=1e9))
    assert none.parts == 1
    assert none.why == "more than the 0.9 GB that may be used of a machine; no number of pools takes less"


def test_given_pools_are_kept():
    assert pw_layout(THIN, "scf", Resources(1, 8), pools=8).why == "given"
    with pytest.raises(ValueError, match="npool: 3 was given, expected a divisor of the 8 ranks"):
        pw_layout(THIN, "scf", Resources(1, 8), pools=3)


def test_processes_of_the_response():
    def chosen(settings=RESPONSE, **resources):
        return response_layout(18, 2, [6, 6, 1], settings, Resources(1, 4, **resources))

    assert chosen().words.startswith("4 processes, about 0.8 GB a machine (as many as processors)")
    assert chosen({"mesh": 6}).what == "1 process"
    assert "not worth 4 processes" in chosen({"mesh": 6}).why
    assert chosen({"mesh": 6}, given=True).words.startswith("4 processes, ")
    assert chosen(given=True).why == "given"
    small = chosen(memory=0.5e9)
    assert (small.parts, small.why) == (2, "more would not fit into 0.5 GB")
    assert chosen(memory=1e6).parts == 1


def test_memory_is_asked_where_it_is_counted():
    job = layout.Layout("", 2, 1.0, 10e9, "")
    known = Resources(1, 4, memory=64e9)
    assert layout.asked_memory(job, known, 4, "core.slurm") == {"max_memory_kb": int(20e9 / 1024)}
    assert layout.asked_memory(job, Resources(1, 4, memory=16e9), 4, "core.slurm") == {
        "max_memory_kb": int(16e9 / 1024)
    }
    assert layout.asked_memory(job, known, 32, "core.slurm") == {"max_memory_kb": int(32e9 / 1024)}
    assert layout.asked_memory(job, Resources(1, 4), 4, "core.slurm") == {}
    assert layout.asked_memory(job, known, 4, "core.direct") == {}


# -- in the builder ----------------------------------------------------------------------------------------


def test_every_job_says_how_it_is_laid_out(build):
    builder = build(options={"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 4}})
    ports = builder.wannier_model
    for step, job in layout.pw_ports(ports).items():
        number = job.parallelization["npool"]
        assert job.metadata.description.startswith(f"4 ranks in {number} pool"), step
        assert layout.said({"pw": job}) == job.metadata.description
    assert layout.said({"dmi": builder.response.dmi}).startswith("4 processes, ")
    assert layout.said(builder.response).endswith("(given)")
    assert layout.said(ports.wannier90) == ""
    # Changed in the builder: what is described is not what will run.
    ports.scf.pw.parallelization = orm.Dict({"npool": 1})
    assert layout.said(ports.scf) == "4 ranks in 1 pool (given)"
    relaxed = build(overrides={"relax": {}}).wannier_model
    assert layout.said(relaxed.relax) == relaxed.relax.base_relax.pw.metadata.description


def test_pools_and_memory_that_are_given_are_kept(build, memory):
    memory(8 * 1024**2)
    ranks = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 4}}
    builder = build(npool=1, options={**ranks, "max_memory_kb": 4_000_000})
    scf = builder.wannier_model.scf.pw
    assert scf.parallelization["npool"] == 1
    assert scf.metadata.description.endswith("(given)")
    assert scf.metadata.options["max_memory_kb"] == 4_000_000
    assert builder.response.dmi.metadata.options["max_memory_kb"] == 4_000_000
    # core.direct would make a limit on addresses of it.
    assert "max_memory_kb" not in build(options=ranks).wannier_model.scf.pw.metadata.options
    with pytest.raises(ValueError, match="npool: 3 was given"):
        build(npool=3, options=ranks)


def test_a_small_response_takes_one_process(build, computer):
    processors = computer.get_default_mpiprocs_per_machine()
    assert build().response.dmi.metadata.options["processes"] == processors
    one = build(overrides={"response": {"mesh": 6, "soi_scales": [1.0]}}).response.dmi.metadata.options
    assert (one["processes"], one["resources"]["num_cores_per_mpiproc"]) == (1, 1)


def test_steps_of_a_film(build):
    builder = build(overrides={"relax": {}, "check_spin_orbit": True})
    steps = layout.model_steps(builder.structure, builder.wannier_model)
    names = ["relax", "scf", "bands", "spin_orbit_bands", "nscf", "overlaps", "wannier90", "build"]
    assert [step.name for step in steps] == names
    size = layout.size_of(builder.structure, builder.wannier_model)
    assert sum(step.core_seconds for step in steps) == pytest.approx(estimate.film_seconds(size, names[:5]))
    assert all(step.seconds <= step.core_seconds for step in steps)
    response = layout.response_step(builder.response.dmi, 18, 2, [6, 6, 1])
    assert response.core_seconds == pytest.approx(
        estimate.response_seconds(18, builder.response.dmi.parameters.get_dict())
    )


def test_missing_pseudopotentials_are_named(build, pseudo_family):
    pseudos = {"Pt": pseudo_family.get_pseudo("Pt")}
    with pytest.raises(ValueError, match="pseudos: none was given for Co; give one for every kind"):
        build(pseudos=pseudos)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scf": {"parameters": {"SYSTEM": {"ecutwfc": "high"}}}},
            "ecutwfc: 'high' was given, expected a number above 0",
        ),
        ({"scf": {"parameters": {"SYSTEM": {"ecutrho": -1}}}}, "ecutrho: -1 was given"),
        ({"response": {"soi_scales": 1.0}}, "response: parameters: soi_scales"),
        ({"response": {"mesh": "fine"}}, "response: parameters: mesh: 'fine' was given, expected a positive integer"),
    ],
)
def test_inputs_without_a_size_are_refused(build, changes, message):
    with pytest.raises(ValueError, match=message):
        build(overrides=changes)

"""What overrides may say: every section of film.yaml, its keys and the type and range of their values."""

from __future__ import annotations

from typing import Annotated, Any

from ase.data import chemical_symbols
from pydantic import AfterValidator, Field, ValidationInfo, create_model, model_validator

from aiida_dmi.calculations.quality import MODEL, RESPONSE
from aiida_dmi.calculations.response import refusal
from aiida_dmi.calculations.wannier90_input import format_parameter
from aiida_dmi.calculations.wannier90_keywords import KeywordError as Wannier90KeywordError
from aiida_dmi.calculations.wannier90_keywords import check_keyword
from aiida_dmi.engine.build.atomic_functions import ATOMIC
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.integrate.settings import Tolerance
from aiida_dmi.structures.choices import Choices
from aiida_dmi.workflows import validation
from aiida_dmi.workflows.protocols import pw_keywords
from aiida_dmi.workflows.protocols.strict import PlacedError, Strict, checked, fits, number, or_none, quantity
from aiida_dmi.workflows.retries import RETRIES

OVERLAPS = ("dmi-engine", "pw2wannier90")
MOST_POINTS = 400
"""k points of an ab-initio mesh along one direction: more is a slip of the pen."""
NORM_CONSERVING = 4.0
"""ecutrho in units of ecutwfc: the square of a function of ecutwfc, and a norm-conserving set has no other density."""

META_GGA = ("tpss", "revtpss", "m06l", "tb09", "scan", "rscan", "r2scan", "sla+pw+tb09", "scan0")
"""Of pw.x's `input_dft`: they depend on the kinetic energy density."""

WANNIER90_OWNED: dict[str, str] = {
    "num_wann": "it follows from wannierisation.orbitals",
    **dict.fromkeys(("num_bands", "exclude_bands"), "they follow from wannierisation.bands_per_function"),
    **dict.fromkeys(("mp_grid", "kpoints", "nnkpts"), "the mesh is that of wannierisation.kpoints_mesh"),
    "dis_froz_max": "it follows from wannierisation.frozen_window",
    **dict.fromkeys(
        ("unit_cell_cart", "atoms_cart", "atoms_frac", "length_unit", "energy_unit"), "the film is the structure's"),
    **dict.fromkeys(
        ("projections", "auto_projections", "select_projections", "use_bloch_phases", "site_symmetry"),
        "trial functions follow from wannierisation.orbitals"),
    **dict.fromkeys(
        ("postproc_setup", "restart", "write_u_matrices", "calc_only_a", "cp_pp", "effective_model", "devel_flag"),
        "the workflow decides what is run and written"),
    **dict.fromkeys(("spinors", "gamma_only", "num_elec_per_state"), "the two spins are collinear, on a mesh"),
    **dict.fromkeys(("wannier_plot", "transport"), "it needs files that no step here writes"),
    "bands_plot": "no path of k points belongs to it here; see `aiida-dmi plot bands`",
    "num_shells": "wannier90.x does not use it any more; give shell_list",
}  # fmt: skip
"""Keywords of wannier90.x that cannot be given, with the reason."""


def _pw(step: str, calculation: str) -> AfterValidator:
    """Parameters of a step of pw.x."""

    def validate(given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return pw_keywords.checked(given, step, calculation, (info.context or {}).get("unchecked", ()))

    return AfterValidator(validate)


def _wannier90(given: dict[Any, Any], info: ValidationInfo) -> dict[str, Any]:
    """Parameters of wannier90.x."""
    unchecked = {name.lower() for name in (info.context or {}).get("unchecked", ())}
    result: dict[str, Any] = {}
    for key, value in given.items():
        name = str(key).lower()
        if name in result:
            raise PlacedError((name,), " is given twice, in upper and in lower case; give one")
        if name in WANNIER90_OWNED:
            raise PlacedError((name,), f" cannot be given: {WANNIER90_OWNED[name]}")
        try:
            if name not in unchecked:
                check_keyword(name, value)
            if value is not None:
                format_parameter(name, value)
        except Wannier90KeywordError as error:
            raise PlacedError((name,), str(error)) from error
        except ValueError as error:
            raise PlacedError((), f": {error}") from error
        result[name] = value
    return result


def _divisions(value: Any) -> bool:
    numbers = value if isinstance(value, list) else []
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MOST_POINTS for n in numbers)
    return value is None or (whole and len(numbers) in (2, 3))


Distance = Annotated[Any, quantity(least=0.01, most=10.0)]
"""Between k points, 1/Angstrom."""
Divisions = Annotated[
    Any, AfterValidator(fits(_divisions, f"two whole numbers from 1 to {MOST_POINTS}, such as [6, 6]"))
]


class Mesh(Strict):
    """A section with a mesh of k points: given, or by the distance of its points."""

    kpoints_distance: Distance = Field(default=0.0)
    kpoints_mesh: Divisions = None

    @model_validator(mode="after")
    def one_mesh(self) -> Mesh:
        """Both would be two answers to one question."""
        if self.kpoints_mesh is not None and "kpoints_distance" in self.model_fields_set:
            raise PlacedError(("kpoints_mesh",), " and kpoints_distance are both given; give one of them")
        return self


class Scf(Mesh):
    """The scf run."""

    parameters: Annotated[dict[Any, Any], _pw("scf", "scf")] = Field(default_factory=dict)


class Nscf(Strict):
    """The nscf run on the Wannier functions' mesh."""

    parameters: Annotated[dict[Any, Any], _pw("nscf", "nscf")] = Field(default_factory=dict)


class Bands(Strict):
    """Bands at the check points."""

    random_points: Annotated[Any, AfterValidator(fits(validation.fits_random_points, validation.RANDOM_POINTS))] = 0
    parameters: Annotated[dict[Any, Any], _pw("bands", "bands")] = Field(default_factory=dict)


class SpinOrbitBands(Strict):
    """Noncollinear bands at the check points."""

    parameters: Annotated[dict[Any, Any], _pw("spin_orbit_bands", "nscf")] = Field(default_factory=dict)


def _names(value: Any) -> bool:
    return value is None or isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(name, str) for name in value)
    )  # fmt: skip


class Relaxation(Strict):
    """A relaxation of the positions."""

    fixed: Annotated[Any, AfterValidator(fits(_names, "names of atoms that stay, such as [Pt.2], or null"))] = None
    parameters: Annotated[dict[Any, Any], _pw("relax", "relax")] = Field(default_factory=dict)


class Completeness(Mesh):
    """What the Wannier functions leave out, on a mesh of its own."""


class Wannierisation(Mesh):
    """Orbitals, bands, windows, and how many tries there may be."""

    orbitals: Any = None
    bands_per_function: Any = None
    frozen_window: Any = None
    trial_functions: Any = None
    retries: Any = None
    parameters: Annotated[dict[Any, Any], AfterValidator(_wannier90)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def choices_can_be_made(self) -> Wannierisation:
        """The check of the workchain's own port."""
        keys = (*validation.SETTINGS, validation.TRIAL_FUNCTIONS, RETRIES)
        given = {key: getattr(self, key) for key in keys if key in self.model_fields_set}
        if given.get(validation.TRIAL_FUNCTIONS, "") is None:
            # What the protocol says: those that the program of the overlaps makes.
            del given[validation.TRIAL_FUNCTIONS]
        if message := validation.choices(given):
            raise PlacedError((), f": {message}")
        return self


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _tolerance(value: Any) -> Any:
    """A number above 0, or a text such as '1 %': the engine's own check."""
    try:
        Tolerance.checked(value)
    except InputError as error:
        raise ValueError(str(error).rpartition(" was given, ")[2]) from error
    return value


Limit = Annotated[Any, quantity(least=0.0)] | None
LIMITS: dict[str, Any] = dict.fromkeys((*MODEL, *RESPONSE), (Limit, None))
Quality = create_model(
    "Quality",
    __base__=Strict,
    __doc__="Limits of the quality gate; null measures a quantity and does not judge it.",
    **LIMITS,
)


class Response(Strict):
    """Arguments of the engine's `compute`; what they mean to it is checked by the engine, with the protocol's."""

    mesh: Any = None
    soi_scales: Any = None
    fermi_shifts: Any = None
    temperatures: Any = None
    directions: Any = None
    soi_masks: Annotated[
        Any,
        AfterValidator(
            fits(
                lambda value: value is None or (isinstance(value, dict) and all(isinstance(k, str) for k in value)),
                "names with what they stand for, such as {magnet: [Co]}",
            )
        ),
    ] = None
    fermi_level: Any = None
    method: Any = None
    quantities: Any = None
    symmetry: Annotated[
        Any,
        AfterValidator(
            fits(
                lambda value: value in (None, "model", "auto") or isinstance(value, bool), "true, false, model or auto"
            )
        ),
    ] = None
    tolerance: Annotated[Any, AfterValidator(or_none(_tolerance))] = None
    max_mesh: Annotated[Any, AfterValidator(or_none(fits(_positive, "an integer above 0")))] = None


def _moments(given: dict[str, float]) -> dict[str, float]:
    for element in given:
        if element not in chemical_symbols[1:]:
            raise PlacedError(
                (element,), " is no chemical symbol; moments of layers or kinds are given with --moment NAME=MU_B"
            )
    return given


def _film(given: dict[str, Any]) -> dict[str, Any]:
    """What is said of the film: the intake's own check."""
    Choices.checked(given)
    return given


class Overrides(Strict):
    """All that a protocol says, each part optional."""

    pseudo_family: Annotated[str, Field(min_length=1)] | None = None
    cutoffs: Annotated[str, Field(min_length=1)] = "low"
    film: Annotated[dict[str, Any], AfterValidator(_film)] = Field(default_factory=dict)
    relax: Relaxation | None = None
    scf: Scf = Field(default_factory=Scf)
    nscf: Nscf = Field(default_factory=Nscf)
    bands: Bands = Field(default_factory=Bands)
    check_spin_orbit: bool = False
    spin_orbit_bands: SpinOrbitBands = Field(default_factory=SpinOrbitBands)
    overlaps: Annotated[Any, AfterValidator(fits(OVERLAPS.__contains__, f"one of {', '.join(OVERLAPS)}"))] = OVERLAPS[0]
    wannierisation: Wannierisation = Field(default_factory=Wannierisation)
    completeness: Completeness | None = None
    response: Response = Field(default_factory=Response)
    quality: Quality = Field(default_factory=Quality)  # type: ignore[valid-type]  # made at run time
    force: bool = False
    clean_workdir: bool = False
    magnetic_moments: Annotated[dict[str, Annotated[Any, quantity(least=-50, most=50)]], AfterValidator(_moments)] = (
        Field(default_factory=dict)
    )
    unchecked_keywords: list[str] = Field(default_factory=list)


def checked_overrides(overrides: Any) -> dict[str, Any]:
    """Overrides with every key and value checked, pw.x's namelists in upper and all keywords in lower case.

    Parameters
    ----------
    overrides : mapping
        Nested as film.yaml's `default_inputs`. `unchecked_keywords` names keywords of pw.x or wannier90.x, newer than
        this package, that are passed on as they are.

    Returns
    -------
    dict
        What was given, and no more; without `unchecked_keywords`.

    Raises
    ------
    InputError
        In one line: the place, what was given, what is expected.
    """
    given = overrides if overrides is not None else {}
    unchecked = given.get("unchecked_keywords", ()) if isinstance(given, dict) else ()
    names = unchecked if isinstance(unchecked, (list, tuple)) and all(isinstance(n, str) for n in unchecked) else ()
    found = checked(Overrides, given, "overrides: ", unchecked=names)
    return found.model_dump(exclude_unset=True, exclude={"unchecked_keywords"})


def check_inputs(inputs: dict[str, Any]) -> None:
    """What overrides and protocol make together.

    Raises
    ------
    InputError
        If the cutoffs that are given do not fit together, pw2wannier90 is to make functions that it has not, plane
        waves are asked for what they do not know, or the engine would refuse the response's arguments.
    """
    for step, system in _systems(inputs).items():
        if not number(system.get("degauss")):
            raise InputError(f"overrides: {step}.parameters.SYSTEM.degauss is missing; give a number of Ry")
    check_cutoffs(inputs)
    _check_completeness(inputs)
    if inputs["overlaps"] != OVERLAPS[0] and inputs["wannierisation"].get(validation.TRIAL_FUNCTIONS) == ATOMIC:
        raise InputError(
            f"overrides: wannierisation.trial_functions: {ATOMIC} was given, and overlaps: {inputs['overlaps']}, which "
            f"has hydrogenic ones only; leave one of the two out"
        )
    # Names of atoms in masks mean something in a film only.
    response = {key: value for key, value in inputs["response"].items() if value is not None and key != "soi_masks"}
    if message := refusal(response):
        raise InputError(f"response: parameters: {message}")


def _check_completeness(inputs: dict[str, Any]) -> None:
    """Its H has a local potential and the pseudopotentials' projectors, and nothing else."""
    if inputs["completeness"] is None:
        return
    system = inputs["scf"]["parameters"]["SYSTEM"]
    hubbard = next((key for key in system if key == "lda_plus_u" or key.startswith("hubbard")), None)
    functional = str(system.get("input_dft", "")).lower()
    what = f"{hubbard}" if hubbard and system[hubbard] else f"input_dft: {functional}" * (functional in META_GGA)
    if what:
        raise InputError(
            f"overrides: completeness: not with scf.parameters.SYSTEM.{what}, which its Hamiltonian in plane waves has "
            "not; leave it out with `completeness: null`"
        )


def check_cutoffs(inputs: dict[str, Any]) -> None:
    """Cutoffs of the steps that have both.

    Raises
    ------
    InputError
        If ecutrho is too small for its ecutwfc.
    """
    for step, system in _systems(inputs).items():
        if "ecutwfc" not in system or "ecutrho" not in system:
            continue
        least = NORM_CONSERVING * system["ecutwfc"]
        if not system["ecutrho"] >= least:
            raise InputError(
                f"overrides: {step}.parameters.SYSTEM.ecutrho: {system['ecutrho']:g} was given, expected at least "
                f"{least:g} Ry, {NORM_CONSERVING:g} times ecutwfc; leave it out"
            )


def _systems(inputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Namelist SYSTEM of the steps that may have a cutoff of their own."""
    scf = inputs["scf"]["parameters"]["SYSTEM"]
    relax = (inputs["relax"] or {}).get("parameters", {}).get("SYSTEM", {})
    return {"scf": scf, "relax": {**scf, **relax}}

"""Calculation job for Wannier90 (https://wannier.org).

Ports and exit codes are those of ``Wannier90Calculation`` of aiida-wannier90 2.2.0, held to them by a test, so that
either class can stand where the other does.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo, CodeRunMode
from aiida.common.exceptions import InputValidationError
from aiida.common.folders import Folder
from aiida.tools import RealhydrogenOrbital

from aiida_dmi.aiida_types import Spec
from aiida_dmi.calculations.identity import IdentifiedCalculation
from aiida_dmi.calculations.wannier90_input import (
    check_mp_grid,
    format_orbital,
    format_parameter,
    format_projections,
    format_win,
)

__all__ = ("Wannier90Calculation",)

_INPUT_SUFFIX = ".win"
_Triple: TypeAlias = tuple[str, str, str]


class Wannier90Calculation(IdentifiedCalculation):
    """Wannier functions by Wannier90, or, with ``postproc_setup`` in the settings, the ``.nnkp`` file they start from.

    A run needs ``SEED.mmn`` and ``SEED.amn`` from either ``local_input_folder`` or ``remote_input_folder``; the
    ``postproc_setup`` run takes neither folder. ``settings`` knows the keys

    - ``postproc_setup`` (bool): write the ``.nnkp`` file and stop;
    - ``random_projections`` (bool): let Wannier90 add projections up to ``num_wann``;
    - ``additional_retrieve_list``, ``exclude_retrieve_list`` (lists of patterns): change what is retrieved;
    - ``additional_local_copy_list``, ``additional_remote_copy_list``, ``additional_remote_symlink_list``
      (lists of triples as in :class:`aiida.common.CalcInfo`): further input files;
    - ``seedname`` (str): accepted and without effect; the seed is the stem of ``metadata.options.input_filename``.
    """

    _DEFAULT_INPUT_FILE = "aiida.win"
    _DEFAULT_OUTPUT_FILE = "aiida.wout"

    # Keywords that other inputs write; `postproc_setup` is a setting because it changes what the job retrieves.
    _BLOCKED_PARAMETER_KEYS = ("length_unit", "unit_cell_cart", "atoms_cart", "projections", "postproc_setup")

    _SETTINGS_TYPES: Mapping[str, type] = {
        "postproc_setup": bool,
        "random_projections": bool,
        "additional_retrieve_list": list,
        "exclude_retrieve_list": list,
        "additional_local_copy_list": list,
        "additional_remote_copy_list": list,
        "additional_remote_symlink_list": list,
        "seedname": str,
    }

    _REQUIRED_SUFFIXES = (".mmn", ".amn")
    # fmt: off
    _OPTIONAL_SUFFIXES = (
        ".eig", ".spn", ".uHu", ".unkg",
        "_htB.dat", "_htL.dat", "_htR.dat", "_htC.dat", "_htLC.dat", "_htCR.dat",
    )
    # Wannier90 rewrites its checkpoint, so the one it starts from is a copy, never a link.
    _COPIED_SUFFIX = ".chk"
    # Not retrieved: the checkpoint, which is large, and the .nnkp file, which becomes an output node of its own.
    _DEFAULT_RETRIEVE_SUFFIXES = (
        ".wout", ".werr", ".node_*.werr",
        "_band.dat", "_band.agr", "_band.kpt", "_band_proj.dat", "_band.labelinfo.dat",
        "_hr.dat", "_tb.dat", "_r.dat", "_wsvec.dat", "_u.mat", "_u_dis.mat", ".r2mn", ".bvec", ".vdw",
        "_centres.xyz", "_w.xsf", "_w.cube", ".bxsf", "_qc.dat", "_dos.dat", "_htB.dat",
    )
    # fmt: on

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define the ports and exit codes."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The crystal.")
        spec.input(
            "parameters",
            valid_type=orm.Dict,
            validator=cls._validate_parameters,
            help="Wannier90 keywords, lower case.",
        )
        spec.input(
            "settings",
            valid_type=orm.Dict,
            required=False,
            validator=cls._validate_settings,
            help="How the job is run and what it retrieves: see the description of this class.",
        )
        spec.input(
            "projections",
            valid_type=(orm.OrbitalData, orm.Dict, orm.List),
            required=False,
            help="Projections: hydrogen-like orbitals, orbitals by site ({'Co': 's;p;d'}), or Wannier90's own lines.",
        )
        spec.input(
            "local_input_folder",
            valid_type=orm.FolderData,
            required=False,
            help="Folder in the AiiDA repository with the overlaps and projections (.mmn, .amn, .eig, ...).",
        )
        spec.input(
            "remote_input_folder",
            valid_type=orm.RemoteData,
            required=False,
            help="Folder on the computer with the overlaps and projections (.mmn, .amn, .eig, ...).",
        )
        spec.input(
            "kpoints",
            valid_type=orm.KpointsData,
            help="k-points of the Bloch states: a mesh, or an explicit list with mp_grid in the parameters.",
        )
        spec.input(
            "kpoint_path",
            valid_type=orm.Dict,
            required=False,
            help="Path of the bands: 'path', pairs of labels, and 'point_coords', crystal coordinates by label.",
        )
        spec.input(
            "bands_kpoints",
            valid_type=orm.KpointsData,
            required=False,
            validator=cls._validate_bands_kpoints,
            help="Labelled k-points of the bands, instead of kpoint_path; needs a Wannier90 newer than 3.1.0.",
        )
        spec.inputs.validator = cls._validate_inputs

        options = "metadata.options"
        spec.input(
            f"{options}.input_filename",
            valid_type=str,
            default=cls._DEFAULT_INPUT_FILE,
            validator=cls._validate_input_filename,
        )
        spec.input(f"{options}.output_filename", valid_type=str, default=cls._DEFAULT_OUTPUT_FILE)
        spec.input(f"{options}.parser_name", valid_type=str, default="dmi.wannier90")
        spec.input(f"{options}.withmpi", valid_type=bool, default=True)

        spec.output("output_parameters", valid_type=orm.Dict, help="Numbers and warnings from the .wout file.")
        spec.output("interpolated_bands", valid_type=orm.BandsData, required=False, help="Interpolated bands, eV.")
        spec.output(
            "nnkp_file", valid_type=orm.SinglefileData, required=False, help="The .nnkp file of postproc_setup."
        )
        spec.default_output_node = "output_parameters"

        cls._define_exit_codes(spec)

    @staticmethod
    def _define_exit_codes(spec: Spec) -> None:
        # Labels, numbers and messages are an interface: see the module docstring.
        spec.exit_code(
            200,
            "ERROR_NO_RETRIEVED_FOLDER",
            message="The retrieved folder data node could not be accessed.",
            invalidates_cache=True,
        )
        spec.exit_code(
            210,
            "ERROR_OUTPUT_STDOUT_MISSING",
            message="The retrieved folder did not contain the required stdout output file.",
            invalidates_cache=True,
        )
        spec.exit_code(300, "ERROR_WERR_FILE_PRESENT", message="A Wannier90 error file (.werr) has been found.")
        spec.exit_code(
            400,
            "ERROR_EXITING_MESSAGE_IN_STDOUT",
            message='The string "Exiting..." has been found in the Wannier90 output '
            "(some partial output might have been parsed).",
        )
        spec.exit_code(
            401, "ERROR_BVECTORS", message="An error related to bvectors has been found in the Wannier90 output."
        )
        spec.exit_code(
            402,
            "ERROR_DISENTANGLEMENT_NOT_ENOUGH_STATES",
            message="Energy window contains fewer states than number of target WFs.",
        )
        spec.exit_code(403, "ERROR_PLOT_WF_CUBE", message="Error plotting Wanier functions in cube format.")
        spec.exit_code(
            404,
            "ERROR_OUTPUT_STDOUT_INCOMPLETE",
            message="The stdout output file was incomplete probably because the calculation got interrupted.",
        )

    # Validators return what is wrong and what to do, or None. They run when a process is launched, before anything
    # is copied, and also where a work chain exposes these ports and fills some of them later: an absent port is
    # therefore no error here. The two input folders, commonly filled later, are checked on submission.

    @classmethod
    def _validate_parameters(cls, node: orm.Dict, _: Any) -> str | None:
        parameters = node.get_dict()
        if not_lower := sorted(key for key in parameters if key != key.lower()):
            return f"keys must be lower case; these are not: {', '.join(not_lower)}"
        if blocked := [key for key in cls._BLOCKED_PARAMETER_KEYS if key in parameters]:
            return f"these keys are written from other inputs or settings, remove them: {', '.join(blocked)}"
        try:
            for key, value in parameters.items():
                format_parameter(key, value)
        except ValueError as error:
            return str(error)
        return None

    @classmethod
    def _validate_settings(cls, node: orm.Dict, _: Any) -> str | None:
        settings = node.get_dict()
        if unknown := sorted(set(settings) - set(cls._SETTINGS_TYPES)):
            return f"unknown keys {', '.join(unknown)}; known, in lower case, are {', '.join(cls._SETTINGS_TYPES)}"
        for key, value in settings.items():
            if not isinstance(value, cls._SETTINGS_TYPES[key]):
                return f"{key} is {value!r}; expected a {cls._SETTINGS_TYPES[key].__name__}"
        return None

    @staticmethod
    def _validate_bands_kpoints(node: orm.KpointsData, _: Any) -> str | None:
        if "mesh" in node.base.attributes.all:
            return "it is a mesh; expected a list of k-points along a path"
        if not node.labels:
            return "it has no labels; set them with `KpointsData.labels = [(0, 'GAMMA'), ...]`"
        return None

    @staticmethod
    def _validate_input_filename(value: str, _: Any) -> str | None:
        if not value.endswith(_INPUT_SUFFIX):
            return f"input_filename is '{value}'; Wannier90 reads SEED{_INPUT_SUFFIX} only"
        return None

    @classmethod
    def _validate_inputs(cls, inputs: Mapping[str, Any], _: Any) -> str | None:
        if "kpoint_path" in inputs and "bands_kpoints" in inputs:
            return "kpoint_path and bands_kpoints are both given; give one of them"
        try:
            if "settings" in inputs and isinstance(inputs.get("projections"), orm.List):
                _projection_lines(inputs["projections"], inputs["settings"].get("random_projections", False))
            if "parameters" in inputs:
                cls._check_against_parameters(inputs)
        except ValueError as error:
            return str(error)
        return None

    @staticmethod
    def _check_against_parameters(inputs: Mapping[str, Any]) -> None:
        parameters = inputs["parameters"].get_dict()
        if parameters.get("bands_plot", False) and not ("kpoint_path" in inputs or "bands_kpoints" in inputs):
            raise ValueError("bands_plot is true; add the path, kpoint_path or bands_kpoints")
        if "kpoints" in inputs:
            mesh, points = _mesh_and_points(inputs["kpoints"])
            check_mp_grid(parameters, mesh, len(points))

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the input file and say which files go where.

        Parameters
        ----------
        folder
            Sandbox folder whose content is copied to the working directory.

        Raises
        ------
        aiida.common.InputValidationError
            If the file names or the input folders do not fit, or a required file is missing.
        """
        settings = self.inputs.settings.get_dict() if "settings" in self.inputs else {}
        postproc_setup = settings.get("postproc_setup", False)
        seedname = self._seedname()
        self._check_input_folders(postproc_setup)

        with folder.open(f"{seedname}{_INPUT_SUFFIX}", "w", encoding="utf-8") as handle:
            handle.write(self._win(postproc_setup, settings.get("random_projections", False)))

        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = [seedname]

        retrieve = [f"{seedname}{suffix}" for suffix in self._DEFAULT_RETRIEVE_SUFFIXES]
        excluded = settings.get("exclude_retrieve_list", [])
        retrieve = [name for name in retrieve if not any(fnmatch.fnmatch(name, pattern) for pattern in excluded)]

        calcinfo = CalcInfo()
        calcinfo.uuid = self.uuid
        calcinfo.codes_info = [codeinfo]
        calcinfo.codes_run_mode = CodeRunMode.SERIAL
        # With postproc_setup there is neither folder, so that there are no files but the additional ones.
        local = self._local_files(seedname) if "local_input_folder" in self.inputs else []
        copies, links = self._remote_files(seedname) if "remote_input_folder" in self.inputs else ([], [])
        calcinfo.local_copy_list = local + _triples(settings, "additional_local_copy_list")
        calcinfo.remote_copy_list = copies + _triples(settings, "additional_remote_copy_list")
        calcinfo.remote_symlink_list = links + _triples(settings, "additional_remote_symlink_list")
        calcinfo.retrieve_list = retrieve + settings.get("additional_retrieve_list", [])
        calcinfo.retrieve_temporary_list = [f"{seedname}.nnkp"] if postproc_setup else []
        return calcinfo

    def _seedname(self) -> str:
        """Return the seed, the stem of the input file, once it is sure that the output file has the same."""
        options = self.inputs.metadata.options
        seedname = str(options.input_filename.removesuffix(_INPUT_SUFFIX))
        if options.output_filename != f"{seedname}.wout":
            raise InputValidationError(
                f"input_filename is '{options.input_filename}', so Wannier90 writes '{seedname}.wout', "
                f"but output_filename is '{options.output_filename}': set it to '{seedname}.wout'"
            )
        return seedname

    def _check_input_folders(self, postproc_setup: bool) -> None:
        given = [name for name in ("local_input_folder", "remote_input_folder") if name in self.inputs]
        if postproc_setup and given:
            raise InputValidationError(f"postproc_setup reads no overlaps: leave out {' and '.join(given)}")
        if not postproc_setup and len(given) != 1:
            raise InputValidationError(
                f"{'both' if given else 'neither'} of local_input_folder and remote_input_folder are given: give one "
                "(or postproc_setup in the settings, for the .nnkp file)"
            )

    def _win(self, postproc_setup: bool, random_projections: bool) -> str:
        """Return the content of the input file."""
        mesh, points = _mesh_and_points(self.inputs.kpoints)
        parameters = self.inputs.parameters.get_dict()
        parameters["mp_grid"] = check_mp_grid(parameters, mesh, len(points))
        if postproc_setup:
            parameters["postproc_setup"] = True
        structure = self.inputs.structure
        path, bands = self.inputs.get("kpoint_path"), self.inputs.get("bands_kpoints")
        try:
            return format_win(
                parameters,
                cell=structure.cell,
                sites=[(site.kind_name, site.position) for site in structure.sites],
                kpoints=points,
                projections=_projection_lines(self.inputs.get("projections"), random_projections),
                kpoint_path=None if path is None else path.get_dict(),
                explicit_kpath=None if bands is None else (bands.get_kpoints(), bands.labels),
            )
        except ValueError as error:
            raise InputValidationError(str(error)) from error

    def _plot_patterns(self) -> list[str]:
        # The periodic parts of the Bloch functions are many files, needed for plots only.
        return ["UNK*"] if self.inputs.parameters.get("wannier_plot", False) else []

    def _local_files(self, seedname: str) -> list[_Triple]:
        """Return the files of the local folder to copy."""
        folder = self.inputs.local_input_folder
        present = set(folder.base.repository.list_object_names())
        if missing := [seedname + suffix for suffix in self._REQUIRED_SUFFIXES if seedname + suffix not in present]:
            raise InputValidationError(
                f"local_input_folder lacks {', '.join(missing)} "
                "(for the step before these exist, set postproc_setup in the settings)"
            )
        suffixes = (*self._REQUIRED_SUFFIXES, *self._OPTIONAL_SUFFIXES, self._COPIED_SUFFIX)
        names = [seedname + suffix for suffix in suffixes if seedname + suffix in present]
        names += [name for pattern in self._plot_patterns() for name in sorted(fnmatch.filter(present, pattern))]
        return [(folder.uuid, name, name) for name in names]

    def _remote_files(self, seedname: str) -> tuple[list[_Triple], list[_Triple]]:
        """Return the files of the remote folder to copy and those to link."""
        remote = self.inputs.remote_input_folder
        path, computer = PurePosixPath(remote.get_remote_path()), remote.computer.uuid
        links = [(computer, str(path / (seedname + suffix)), seedname + suffix) for suffix in self._REQUIRED_SUFFIXES]
        # A pattern, unlike a name, may match nothing: that is how a file is optional on a remote computer.
        patterns = [f"{seedname}*{suffix}" for suffix in self._OPTIONAL_SUFFIXES] + self._plot_patterns()
        links += [(computer, str(path / pattern), ".") for pattern in patterns]
        return [(computer, str(path / f"{seedname}*{self._COPIED_SUFFIX}"), ".")], links


def _triples(settings: Mapping[str, Any], key: str) -> list[_Triple]:
    # JSON knows no tuples, so the settings hold lists.
    return [tuple(entry) for entry in settings.get(key, [])]


def _mesh_and_points(kpoints: orm.KpointsData) -> tuple[list[int] | None, Any]:
    """Return the divisions of the mesh, None for an explicit list, and the k-points, shape (nk, 3)."""
    if "mesh" in kpoints.base.attributes.all:
        return kpoints.get_kpoints_mesh()[0], kpoints.get_kpoints_mesh(print_list=True)
    return None, kpoints.get_kpoints()


def _projection_lines(projections: orm.OrbitalData | orm.Dict | orm.List | None, random: bool) -> list[str]:
    """Return the lines of the projections block."""
    if isinstance(projections, orm.OrbitalData):
        orbitals = projections.get_orbitals()
        if foreign := {type(o).__name__ for o in orbitals if not isinstance(o, RealhydrogenOrbital)}:
            raise ValueError(f"projections are {', '.join(sorted(foreign))}; expected RealhydrogenOrbital")
        return format_projections([format_orbital(orbital.get_orbital_dict()) for orbital in orbitals], random)
    if isinstance(projections, orm.List) and random:
        raise ValueError("random_projections is for orbitals; in a list, make 'random' the first line")
    if projections is None:
        return format_projections([], random)
    content = projections.get_dict() if isinstance(projections, orm.Dict) else projections.get_list()
    return format_projections(content, random)

"""Which programs made a result, and what to cite for it."""

from __future__ import annotations

import platform
from collections.abc import Iterable

import numpy as np
from aiida import __version__ as aiida_version
from aiida import orm
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi import __version__
from aiida_dmi.workflows import families

THEORY = (
    "the theory and every formula",
    "F. Freimuth, S. Blügel, Y. Mokrousov, Relation of the Dzyaloshinskii-Moriya interaction to spin currents and to "
    "the spin-orbit field, Phys. Rev. B 96, 054403 (2017)",
)
AIIDA = (
    "the workflow and its provenance",
    "S. P. Huber et al., AiiDA 1.0, a scalable computational infrastructure for automated reproducible workflows and "
    "data provenance, Sci. Data 7, 300 (2020)",
)
QUANTUM_ESPRESSO = (
    "density functional theory",
    "P. Giannozzi et al., Advanced capabilities for materials modelling with Quantum ESPRESSO, J. Phys.: Condens. "
    "Matter 29, 465901 (2017)",
)
WANNIER90 = (
    "Wannier functions",
    "G. Pizzi et al., Wannier90 as a community code: new features and applications, J. Phys.: Condens. Matter 32, "
    "165902 (2020)",
)
PSEUDO_DOJO = (
    "the table of pseudopotentials",
    "M. J. van Setten et al., The PseudoDojo: training and grading a 85 element optimized norm-conserving "
    "pseudopotential table, Comput. Phys. Commun. 226, 39 (2018)",
)
SG15 = (
    "the pseudopotentials' inputs",
    "M. Schlipf, F. Gygi, Optimization algorithm for the generation of ONCV pseudopotentials, Comput. Phys. Commun. "
    "196, 36 (2015)",
)
SG15_RELATIVISTIC = (
    "the pseudopotentials' inputs, fully relativistic",
    "P. Scherpelz, M. Govoni, I. Hamada, G. Galli, Implementation and validation of fully relativistic GW "
    "calculations: spin-orbit coupling in molecules, nanocrystals, and solids, J. Chem. Theory Comput. 12, 3523 (2016)",
)
ONCVPSP = (
    "the pseudopotentials' construction",
    "D. R. Hamann, Optimized norm-conserving Vanderbilt pseudopotentials, Phys. Rev. B 88, 085117 (2013)",
)
HEAD = 4000
"""Characters of a UPF file that hold what its author wants to be known."""


def citations(node: orm.WorkChainNode) -> list[tuple[str, str]]:
    """Works to cite, each with what it is for.

    Parameters
    ----------
    node : DmiWorkChain

    Returns
    -------
    list of (str, str)
        Reason and reference; Quantum ESPRESSO, Wannier90 and the pseudopotentials where this run or the one that made
        its model used them.
    """
    found = [THEORY, AIIDA]
    jobs = list(_jobs(node))
    if any((job.process_label or "").startswith("Pw") for job in jobs):
        found.append(QUANTUM_ESPRESSO)
    if any((job.process_label or "").startswith("Wannier90") for job in jobs):
        found.append(WANNIER90)
    pseudos = node.inputs.wannier_model.pseudos if "wannier_model" in node.inputs else {}
    found += _of_pseudopotentials(pseudos.values())
    return found


def _of_pseudopotentials(pseudos: Iterable[UpfData]) -> list[tuple[str, str]]:
    """The tables that the files are from, of virtual crystals those of what was mixed; and how they were made."""
    files = {node.md5: node for pseudo in pseudos for node in families.sources(pseudo)}.values()
    found = []
    if any(families.is_pseudo_dojo(node) for node in files):
        found.append(PSEUDO_DOJO)
    if any(families.is_sg15(node) for node in files):
        found += [SG15, SG15_RELATIVISTIC]
    if any("ONCVPSP" in node.get_content()[:HEAD] for node in files):
        found.append(ONCVPSP)
    return found


def versions(node: orm.WorkChainNode) -> list[tuple[str, str]]:
    """Programs and files that made the result, as pairs of name and text."""
    recorded = node.base.attributes.get("version", {})
    rows = [
        ("aiida-core", f"{recorded.get('core', 'unknown')} (run), {aiida_version} (this page)"),
        ("aiida-dmi", f"{recorded.get('plugin', 'unknown')} (run), {__version__} (this page)"),
        ("Python, numpy", f"{platform.python_version()}, {np.__version__} (this page)"),
    ]
    if "response" in node.outputs:
        rows.append(("dmi-engine (response)", node.outputs.response.base.attributes.get("engine_version")))
    model = node.inputs.model if "model" in node.inputs else node.outputs.model if "model" in node.outputs else None
    if model is not None:
        # Models of early versions do not say it.
        rows.append(("dmi-engine (model)", model.base.attributes.get("engine_version", "not recorded in the model")))
    if "scf_parameters" in node.outputs:
        rows.append(("Quantum ESPRESSO", str(node.outputs.scf_parameters.get("creator_version", "unknown"))))
    codes = {job.inputs.code.uuid: job.inputs.code for job in _jobs(node) if "code" in job.inputs}
    rows += [(f"code {code.label}", _place(code)) for code in codes.values()]
    if "wannier_model" in node.inputs:
        for kind, pseudo in node.inputs.wannier_model.pseudos.items():
            rows.append((f"pseudopotential {kind}", f"{pseudo.filename}, md5 {pseudo.md5}"))
        if "cutoffs" in node.inputs.wannier_model:
            rows.append(("cutoffs", str(node.inputs.wannier_model.cutoffs["words"])))
    return rows


def _place(code: orm.AbstractCode) -> str:
    return f"{code.full_label}, {code.get_executable()}, uuid {code.uuid}"


def _jobs(node: orm.WorkChainNode) -> Iterable[orm.CalcJobNode]:
    """Jobs of this run; of a model that was given, those of the workchain that made it."""
    origin = node.inputs.model.creator.caller if "model" in node.inputs and node.inputs.model.creator else None
    for run in (node, origin):
        if run is not None:
            yield from (job for job in run.called_descendants if isinstance(job, orm.CalcJobNode))

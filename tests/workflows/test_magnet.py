"""What the film has to be once its scf has ended, and what it has to start from."""

import pytest
from aiida import orm
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager

from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.workflows.wannier_model import WannierModelWorkChain

CODES = WannierModelWorkChain.exit_codes


@pytest.fixture
def workchain(codes, quick_overrides):
    """A WannierModelWorkChain whose scf has ended with given magnetisations, mu_B."""
    made = []

    def make(**magnetizations):
        builder = WannierModelWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=quick_overrides)
        made.append(instantiate_process(get_manager().get_runner(), builder))
        made[-1].ctx.scf_parameters = orm.Dict(magnetizations)
        return made[-1]

    yield make
    for process in made:
        process.kill()


@pytest.mark.parametrize(
    ("total", "absolute", "ending"),
    [
        (2.1, 2.3, None),
        (-1.0, 3.0, None),
        (0.0, 0.01, CODES.ERROR_NO_MAGNETIC_MOMENT),
        (0.03, 6.2, CODES.ERROR_ANTIFERROMAGNETIC),
        (-0.2, 6.2, CODES.ERROR_ANTIFERROMAGNETIC),
    ],
)
def test_the_scf_ends_with_one_magnetisation(workchain, total, absolute, ending):
    told = workchain(total_magnetization=total, absolute_magnetization=absolute).check_magnet()
    assert (told and told.status) == (ending and ending.status)
    if ending is CODES.ERROR_ANTIFERROMAGNETIC:
        assert f"total magnetization {total:+.3f} mu_B, absolute 6.200" in told.message


def test_an_antiferromagnetic_start_by_hand_is_refused(codes, quick_overrides):
    """The builder's own moments are checked when it is made; those that somebody puts in afterwards, before it runs."""
    film = co_pt111(2, 1, kinds="layer")
    builder = WannierModelWorkChain.get_builder_from_protocol(codes, film, overrides=quick_overrides)
    parameters = builder.scf.pw.parameters.get_dict()
    start = parameters["SYSTEM"]["starting_magnetization"]
    lower, upper = sorted(kind for kind in start if kind.startswith("Co"))
    start.update({lower: 0.2, upper: -0.2})
    builder.scf.pw.parameters = orm.Dict(parameters)
    with pytest.raises(ValueError, match=r"antiferromagnetic ones were given .*give other moments"):
        instantiate_process(get_manager().get_runner(), builder)
    start.update({upper: -0.1})
    builder.scf.pw.parameters = orm.Dict(parameters)
    instantiate_process(get_manager().get_runner(), builder).kill()

from __future__ import annotations

import pytest

from aiida_dmi.engine import WannierModel, compute


@pytest.fixture(scope="session")
def model(model_file) -> WannierModel:
    """Co/Pt(111) 1+1, atoms Pt, Co."""
    return WannierModel.load(model_file)


@pytest.fixture(scope="session")
def result(model):
    """A small sweep: two xi, three shifts, two directions, two masks."""
    return compute(
        model,
        4,
        soi_scales=[0.5, 1.0],
        fermi_shifts=[-0.4, 0.0, 0.4],
        temperatures=[1500.0],
        directions=[(0, 0, 1), (1, 0, 0)],
        soi_masks={"all": [1, 1], "Co": [0, 1]},
    )

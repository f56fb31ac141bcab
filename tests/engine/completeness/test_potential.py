"""pp.x's potential: real files, and what is refused of them in one line."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.completeness.potential import LocalPotential, read_potentials
from aiida_dmi.engine.constants import RYDBERG_EV


def test_values_in_their_places(tiny):
    """The first direction runs fastest; Ry in the file."""
    potential = LocalPotential.read(tiny.potentials[0])
    n1, n2, n3 = potential.values.shape
    assert n1 == n2 < n3
    numbers = tiny.potentials[0].read_text().split("\n", 11)[11].split()
    assert float(numbers[1]) * RYDBERG_EV == pytest.approx(potential.values[1, 0, 0], rel=1e-12)
    assert float(numbers[n1]) * RYDBERG_EV == pytest.approx(potential.values[0, 1, 0], rel=1e-12)
    np.testing.assert_allclose(potential.positions, tiny.save().positions, atol=1e-7)
    assert read_potentials(tiny.potentials, tiny.save()).shape == (2, n1, n2, n3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: len(text) // 2], "values, .* expected"),
        (lambda text: text + " 1.0", "values, .* expected"),
        (lambda text: "", "is not a complete filplot"),
        (
            lambda text: "\n".join([text.split("\n")[0], "8 8", *text.split("\n")[2:]]),
            "its second line holds 2 numbers",
        ),
        (lambda text: text.replace("     1\n", "     6\n", 1), "holds plot_num = 6 of pp.x, expected plot_num = 1"),
        (lambda text: text.rstrip().rpartition(" ")[0] + " NaN", "not finite"),
        (lambda text: text.replace("0.969230769", "0.869230769"), "bohr from the nscf's"),
        (lambda text: text[:100] + "\xff" + text[100:], "is not a complete filplot"),
    ],
)
def test_damaged_or_foreign(tiny, tmp_path, change, words):
    text = tiny.potentials[0].read_text()
    (tmp_path / "v").write_text(change(text), encoding="latin-1")
    with pytest.raises(InputError, match=f"potentials: .*{words}") as caught:
        read_potentials((tmp_path / "v", tiny.potentials[1]), tiny.save())
    assert "\n" not in str(caught.value)


def test_of_another_film(tiny, tmp_path):
    save = tiny.save()
    with pytest.raises(InputError, match=r"v1 is of 2 atoms, the nscf of 1"):
        read_potentials(tiny.potentials, dataclasses.replace(save, positions=save.positions[:1]))
    with pytest.raises(InputError, match="cannot be read"):
        read_potentials((tmp_path / "v", tiny.potentials[1]), save)

"""The page on adding a quantity: its code is a module, and the module is all there is to do."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import aiida_dmi

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "add-a-quantity.md"
PROGRAM = """
import sys
import numpy as np
import aiida_dmi
assert aiida_dmi.__file__.startswith(sys.argv[1])
from aiida_dmi.engine import WannierModel, compute, load_result, save_result
from aiida_dmi.engine.maps.k_map import k_map
model = WannierModel.load(sys.argv[2])
axes = {"soi_scales": [0.0, 1.0], "temperatures": [1500.0], "fermi_level": "dft", "directions": [(0, 0, 1), (1, 0, 0)]}
result = compute(model, 12, quantities=["spin_moment"], **axes)
save_result(result, sys.argv[1] + "/result.nc")
moment = load_result(sys.argv[1] + "/result.nc").spin_moment.squeeze(drop=True)
assert moment.dims == ("direction", "soi_scale", "i") and moment.attrs["units"] == "mu_B"
along_z, along_x = moment.sel(direction="0,0,1"), moment.sel(direction="1,0,0")
# Without spin-orbit interaction one moment, along n wherever that points; with it nearly the same.
size = float(along_z.sel(soi_scale=0.0, i="z"))
assert 1.5 < abs(size) < 3.0, size
assert np.allclose(along_x.sel(soi_scale=0.0), [size, 0, 0], atol=1e-9)
assert np.allclose(along_z.sel(soi_scale=0.0), [0, 0, size], atol=1e-9)
assert abs(float(along_x.sel(soi_scale=1.0, i="x")) - size) < 0.1
mapped = k_map(model, 12, ["spin_moment"], temperature=1500.0, mu=model.fermi_energy).spin_moment
assert np.allclose(mapped.mean("k"), along_z.sel(soi_scale=1.0), atol=1e-9)
"""


def test_one_module_is_enough(tmp_path, data):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    package = Path(aiida_dmi.__file__).parent
    shutil.copytree(package, tmp_path / "aiida_dmi", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "aiida_dmi/engine/quantities/spin_moment.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(data / "copt11.h5")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr

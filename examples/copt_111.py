"""Co/Pt(111) from a slab to D: the demo's job in a few lines. Run it with `verdi run examples/copt_111.py`."""

from aiida import engine, orm
from aiida.plugins import WorkflowFactory

from aiida_dmi.structures.bilayer import co_pt111

codes = {name: orm.load_code(f"{name}@dmi-localhost") for name in ("pw", "pp", "wannier90", "engine")}
DmiWorkChain = WorkflowFactory("dmi.dmi")
overrides = {"completeness": {}}  # what the Wannier functions leave out is put back
film = co_pt111(magnet_layers=1, substrate_layers=1)
builder = DmiWorkChain.get_builder_from_protocol(codes, film, overrides=overrides)
results, node = engine.run_get_node(builder)
dmi = results["response"].dataset.D  # xarray: direction, mask, soi_scale, temperature, fermi_shift, i, j
print(dmi.sel(i="y", j="x", soi_scale=1.0, fermi_shift=0.0), dmi.attrs["units"], node.uuid)

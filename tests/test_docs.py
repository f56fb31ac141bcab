"""Every Python block of the documentation runs, page by page, each in the names of the blocks above it."""

import re
from pathlib import Path

import ase.io
import pytest

from aiida_dmi.structures.bilayer import co_pt111

ROOT = Path(__file__).parents[1]
# A block that only an image, a cluster or a finished campaign could run says so in a comment above it, and is left out.
BLOCK = re.compile(r"(?<!<!-- needs more than a test machine -->\n)^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if BLOCK.search(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run(page, codes, pseudo_family, monkeypatch, tmp_path):
    # Pages name files from the repository's root; what they write goes to a folder of its own.
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    slab = co_pt111(1, 3).get_ase()
    slab.pbc = True
    ase.io.write(tmp_path / "slab.cif", slab)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "documentation"}
    for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)

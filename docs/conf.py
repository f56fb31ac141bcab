"""Sphinx configuration; `make docs` builds the pages without warnings."""

import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# autodoc looks at every attribute of a class; some of AiiDA's ask for a profile or will be dropped: it gets an empty
# configuration of its own, and is not told.
os.environ["AIIDA_PATH"] = tempfile.mkdtemp()
warnings.filterwarnings("ignore", message="Creating AiiDA configuration folder")

from aiida.common.warnings import AiidaDeprecationWarning  # noqa: E402
from aiida.manage.configuration import get_config  # noqa: E402

from aiida_dmi import __version__  # noqa: E402

get_config(create=True)
logging.getLogger("alembic").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", category=AiidaDeprecationWarning)

project = "aiida-dmi"
author = "the aiida-dmi developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon", "directives"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "aiida-dmi"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
nitpicky = False
# Types in docstrings are words, and some are the name of an attribute in two classes.
suppress_warnings = ["ref.python"]

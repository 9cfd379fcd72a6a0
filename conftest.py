"""Whatever pytest runs, notebooks alone too, writes into a folder of the session.

No leftover changes a test then, and no test a tracked file: figures go there as well.
"""

import os
import tempfile

# The processes of pytest-xdist share the folder of the first.
if "PYTEST_XDIST_WORKER" not in os.environ:
    OUTPUT = tempfile.TemporaryDirectory()
    os.environ["COMPENDIUM_OUTPUT"] = OUTPUT.name

pytest_plugins = ["support.redrawn"]

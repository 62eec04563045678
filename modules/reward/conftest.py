"""Lets the tests import the module's code from its directory."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

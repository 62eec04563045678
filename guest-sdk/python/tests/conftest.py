"""The fixtures of every test here; certificates come as for the cluster's tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "tests/cluster"))

from desk import desk, served  # noqa: E402
from harness import serve  # noqa: E402

__all__ = ["desk", "serve", "served"]

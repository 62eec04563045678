"""`python -m roadstead.bindings`."""

import sys

from .cli import main

sys.exit(main())

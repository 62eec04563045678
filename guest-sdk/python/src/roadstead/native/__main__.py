"""`python -m roadstead.native`."""

import sys

from .cli import main

sys.exit(main())

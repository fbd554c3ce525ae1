"""`python -m ftlab.cli`, for where the `ftlab` script is not on the path."""

import sys

from ftlab.cli import main

sys.exit(main())

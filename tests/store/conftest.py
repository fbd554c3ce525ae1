"""Lets the store's tests import their shared module, whatever collects them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

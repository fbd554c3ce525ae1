"""Speed and memory, side by side with what a user would otherwise run. `python -m benchmarks` lists and runs them."""

import os

# For every side alike, and before torch is imported: threads sleep while they wait for each other, as in ftlab's
# workers. Threads that spin make a ratio a matter of what else the machine does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

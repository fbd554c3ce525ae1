"""Speed and memory, side by side with what a user would otherwise run. `python -m benchmarks` lists and runs them."""

import os

# For every side alike, and before torch is imported: threads spin briefly while they wait for each other, as in ftlab's
# workers. Threads that spin long make a ratio a matter of what else the machine does.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "2000"

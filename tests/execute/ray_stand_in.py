"""A Ray cluster of two CPU-only nodes on the loopback, for tests: `python ray_stand_in.py`.

Says the address of its head, and then "ready" for every line it is told: a node that went down is replaced.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

SMALL = 80 * 1024 * 1024
FIRST = {"num_cpus": 2, "node_ip_address": "127.0.0.1", "object_store_memory": SMALL}
# An address of its own, so that the driver belongs to the first, and survives this one.
SECOND = {**FIRST, "node_ip_address": "127.0.0.2", "resources": {"second": 1}}

NOTICED_SOON = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 3,
}
"""A node that went down is otherwise believed in for up to a minute."""


def main() -> None:
    cluster = Cluster(
        initialize_head=True, head_node_args={**FIRST, "include_dashboard": False, "_system_config": NOTICED_SOON}
    )
    node = cluster.add_node(**SECOND)
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        if not node.any_processes_alive() or node.dead_processes():
            cluster.remove_node(node, allow_graceful=False)
            node = cluster.add_node(**SECOND)
        print("ready", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()

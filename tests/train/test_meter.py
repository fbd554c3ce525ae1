"""Memory that a training step frees serves the next one, and goes back to the system after the training."""

from __future__ import annotations

import ctypes
import resource

import psutil
import pytest
import torch

from ftlab.train.meter import reused_memory

TENSOR = 64 << 20
"""Bytes: more than the C library ever keeps by itself."""


def faults(rounds: int) -> int:
    """Pages that the system had to provide while tensors came and went."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(TENSOR // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="a C library without mallopt")
def test_a_step_reuses_the_memory_of_the_last_and_the_end_gives_it_back() -> None:
    pages = TENSOR // resource.getpagesize()
    with reused_memory():
        faults(12)  # until the freed blocks lie so that an aligned one fits into them
        assert faults(8) < pages / 16
        held = psutil.Process().memory_info().rss
    assert psutil.Process().memory_info().rss < held - TENSOR / 2

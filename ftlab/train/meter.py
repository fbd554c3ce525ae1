"""What training costs: seconds, tokens, memory."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import torch

SAMPLE_SECONDS = 0.05

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Parameters of mallopt(3)."""
KEEP = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1}
"""Map nothing apart from the heap, and let as much lie free at its end as an int can say: 2 GB."""
RETURN = {M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20}
"""What the C library comes to by itself once large blocks were freed; see M_MMAP_THRESHOLD in mallopt(3)."""


class Meter:
    """A clock for training steps, and a watch on memory for as long as it is entered.

    The clock is started and stopped by hand, so that `seconds` are those of forward, backward and optimizer steps:
    loading, validation and checkpoints stay out, and the figure compares methods, not how often they were looked at. A
    resumed run starts from the seconds and tokens of the attempts before it.
    """

    def __init__(self, device: torch.device, seconds: float = 0.0, tokens: int = 0) -> None:
        self.tokens = tokens
        """Tokens of prompts and answers that the steps so far have read, padding not counted."""
        self._before = seconds
        self._started: float | None = None
        self._memory = PeakMemory(device)

    def __enter__(self) -> Meter:
        self._memory.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._memory.stop()

    def start(self) -> None:
        """Let the clock run."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Stop the clock; `seconds` stays as it is."""
        self._before, self._started = self.seconds, None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block whose time does not count as training."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self._before + (time.perf_counter() - self._started if self._started is not None else 0.0)

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second of training so far; 0 before the first step."""
        seconds = self.seconds
        return self.tokens / seconds if seconds > 0 else 0.0

    @property
    def memory_bytes(self) -> int:
        """Memory in use now: of this process, or of the GPU's allocator."""
        return self._memory.now()

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory in use at any time since the meter was entered."""
        return self._memory.peak


class PeakMemory:
    """The high-water mark of this process's resident memory, sampled in a thread; on a GPU, of torch's allocator."""

    def __init__(self, device: torch.device) -> None:
        self.peak = 0
        self._cuda = device if device.type == "cuda" else None
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Give back what earlier runs in this process left over, then begin to watch."""
        gc.collect()
        if self._cuda is not None:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._cuda)
            return
        return_free_memory()
        self.peak = self.now()
        self._thread = threading.Thread(target=self._watch, name="ftlab-memory", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; `peak` stays."""
        self.peak = max(self.peak, self.now())
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def now(self) -> int:
        """Bytes in use; a look also raises the peak."""
        if self._cuda is not None:
            self.peak = max(self.peak, int(torch.cuda.max_memory_allocated(self._cuda)))
            return int(torch.cuda.memory_allocated(self._cuda))
        used = int(self._process.memory_info().rss)
        self.peak = max(self.peak, used)
        return used

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.now()


@contextmanager
def reused_memory() -> Iterator[None]:
    """Let the C library keep what a training step frees for the next step, where it can, until the block ends.

    It would map every large tensor anew and hand it back when freed, and a page that comes from the system is zeroed
    first: a fifth of the processor time of a full fine-tuning step.
    """
    # Of glibc; other libraries keep their own rules.
    mallopt: Callable[[int, int], int] = getattr(ctypes.CDLL(None), "mallopt", lambda parameter, value: 0)
    for parameter, value in KEEP.items():
        mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in RETURN.items():
            mallopt(parameter, value)
        return_free_memory()


def return_free_memory() -> None:
    """Hand freed memory back to the system where the C library can: one run's peak is not to be charged to the next."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def parameter_counts(model: Any) -> tuple[int, int]:
    """Trainable parameters and all parameters of a model; tied weights count once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)

"""Timing of work on a CPU or a GPU in turns, memory, and what chips can do at most."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch

MEASURE_S = 0.1  # a repeat of something short runs about this long

# Dense half-precision tensor-core peak with single-precision accumulation, TFLOP/s, NVIDIA's data sheets; first hit.
PEAK_TFLOPS = (
    ("H200", 989.4),
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H100", 989.4),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("L4", 121.0),
    ("V100", 125.0),
    ("T4", 65.0),
    ("RTX 4090", 165.2),
    ("RTX 3090", 71.0),
)

Work: TypeAlias = Callable[[], Any]


def run_for(work: Work, calls: int, device: torch.device) -> float:
    """Seconds per call; on a GPU between two events, so that queued kernels are waited for."""
    if device.type == "cpu":
        started = time.perf_counter()
        for _ in range(calls):
            work()
        return (time.perf_counter() - started) / calls
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    for _ in range(calls):
        work()
    last.record()
    torch.cuda.synchronize(device)
    return float(first.elapsed_time(last)) / 1000 / calls


def measure(works: Mapping[str, Work], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds per call of each, taking turns; every other round backwards, so that none always comes first."""
    calls: dict[str, int] = {}
    for name, work in works.items():
        once = run_for(work, 1, device)  # chooses kernels and compiles
        if once < MEASURE_S or device.type == "cuda":
            once = run_for(work, 1, device)
        calls[name] = max(1, round(MEASURE_S / once))
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats):
        for name in list(works) if turn % 2 == 0 else reversed(list(works)):
            taken[name].append(run_for(works[name], calls[name], device))
    return {name: statistics.median(times) for name, times in taken.items()}


def captured(work: Work, device: torch.device) -> Work:
    """`work` as one CUDA graph; its results lie in memory that the next replay overwrites."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):  # PyTorch's advice: warm up on a side stream before a capture
            work()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def peak_bytes(work: Work, device: torch.device) -> int:
    """What PyTorch holds on the GPU at most during one call, weights and input included; not counted (0) on a CPU."""
    if device.type == "cpu":
        return 0
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device))


def peak_tflops(name: str) -> float | None:
    """The peak assumed for a GPU of that name; None where none is known."""
    return next((peak for part, peak in PEAK_TFLOPS if part in name), None)

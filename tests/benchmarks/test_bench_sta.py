"""The benchmark of STA's cost: its arithmetic, its tables and its way through a small network, without a GPU."""

import bench_sta
import pytest
import timing
import torch
from bench_sta import Bare, FusionLine, SpeedLine, WithSta
from torch import nn

from reid.sta_torch import StaFusion

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    """Idle PyTorch threads spin and take the cores from everybody else."""
    torch.set_num_threads(1)


def small_backbone() -> nn.Module:
    """(B, 3, 256, 128) -> (B, 8, 16, 8)."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 16, stride=16), nn.ReLU()).eval().to(memory_format=torch.channels_last)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(timing, "MEASURE_S", 1e-6)
    monkeypatch.setattr(bench_sta, "CHANNELS", 8)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_a_line_per_head_and_library_and_names_what_misses_the_target(quick, capsys):
    with torch.inference_mode():
        bench_sta.bench_fusion(small_backbone(), bench_sta.noise(8, CPU), bench_sta.make_projection(5), repeats=1)
    printed = capsys.readouterr().out
    lines = [cells(line)[:2] for line in printed.splitlines() if line.startswith("| ")][3:]
    heads = ["mean", "paper", "global", "discriminative", "stripes"]
    in_numpy = [[head, "NumPy"] for head in (*heads, "aligned")]
    assert lines == in_numpy + [[head, "PyTorch"] for head in heads]
    assert "missed by" in printed, "a backbone of one small layer is no match for any fusion"


def test_shares_are_of_the_backbone(capsys):
    seconds = {"backbone": 0.2, "average pool": 0.001, "pooling": 0.002}
    lines = [FusionLine("global", "PyTorch", 0.001, 0.004), FusionLine("paper", "NumPy", 0.02, 0.03)]
    bench_sta.print_fusion(lines, seconds, crops=128)
    printed = capsys.readouterr().out
    assert "640.0 crops/s" in printed
    assert cells(printed.splitlines()[-4]) == ["global", "PyTorch", "1.000", "0.500", "4.000", "2.000"]
    assert printed.rstrip().endswith("missed by NumPy paper")


def test_both_networks_of_the_second_table_run_and_give_a_vector_per_crop_and_per_clip(quick):
    backbone, images = small_backbone(), bench_sta.noise(8, CPU)
    networks = {"bare": Bare(backbone), "sta": WithSta(backbone, StaFusion("paper"))}
    with torch.inference_mode():
        assert networks["bare"](images).shape == (8, 8) and networks["sta"](images).shape == (2, 16)
        line = bench_sta.bench_batch(networks, images, repeats=1, graphs=False)
    assert line.batch == 8 and line.bare > 0 and line.sta > 0


def test_the_second_table_has_the_ratio_and_the_share_of_the_peak(capsys):
    rate = bench_sta.flops_per_crop() / 1e12
    lines = [SpeedLine(64, 1000.0, 700.0, 2**20, 2**21), SpeedLine(128, 2000.0, 1700.0, 2**22, 2**23)]
    bench_sta.print_speed(lines, 1700.0 * rate * 4, "NVIDIA H100", "global")
    printed = capsys.readouterr().out
    rows = [cells(line) for line in printed.splitlines() if line.startswith(("| 64", "| 128"))]
    assert [row[3] for row in rows] == ["0.700", "0.850"]
    assert rows[1][4:6] == ["4", "8"] and rows[1][7] == "25.0%"
    assert "85.0%; 80% met" in printed
    bench_sta.print_speed(lines[:1], None, "some chip", "global")
    printed = capsys.readouterr().out
    assert "give --peak-tflops" in printed and "80% missed" in printed


def test_a_crop_costs_four_billion_multiply_adds():
    assert bench_sta.flops_per_crop() / 2e9 == pytest.approx(4.1, abs=0.1)


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H200", 989.4), ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA H100 PCIe", 756.0), ("Unheard of", None)],
)
def test_the_peak_comes_from_the_chip_s_name(name, peak):
    assert timing.peak_tflops(name) == peak


def test_work_is_measured_in_turns_that_change_direction(monkeypatch):
    monkeypatch.setattr(timing, "MEASURE_S", 0.0)
    order = []
    taken = timing.measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, CPU)
    assert "".join(order) == "ab" + "ab" + "ba" and set(taken) == {"a", "b"}


@pytest.mark.parametrize("words", [["--batches", "6"], ["--repeats", "0"], ["--clips", "0"], ["--fusion", "sum"]])
def test_arguments_that_make_no_sense_are_refused(words, capsys):
    with pytest.raises(SystemExit) as stop:
        bench_sta.main(words)
    assert stop.value.code == 2
    capsys.readouterr()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert bench_sta.main(["--device", "cuda"]) == 1
    assert "no GPU" in capsys.readouterr().out

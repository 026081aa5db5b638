"""Pooling maps into stripe means and energies: the same in every runtime, layout and precision."""

import numpy as np
import pytest
import torch

from reid.crops import pool_stripes
from reid.sta_torch import pool_stripes as pool_stripes_torch


def in_double(maps: torch.Tensor, stripes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The definition, in double precision."""
    batch, channels, height, width = maps.shape
    cells = maps.double().reshape(batch, channels, stripes, height // stripes * width)
    return cells.mean(3).transpose(1, 2), (cells**2).sum((1, 3))


def random_maps(dtype: torch.dtype, layout: torch.memory_format, channels: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(3, channels, 16, 8, generator=generator) * 3 - 0.5
    return maps.to(dtype).to(memory_format=layout)


@pytest.mark.parametrize("stripes", [1, 4, 16])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_pooling_keeps_six_digits_whatever_the_maps_are(dtype, layout, stripes):
    maps = random_maps(dtype, layout)
    means, energy = pool_stripes_torch(maps, stripes)
    expected_means, expected_energy = in_double(maps, stripes)
    assert means.dtype == energy.dtype == torch.float32
    assert means.shape == (3, stripes, 96) and energy.shape == (3, stripes)
    assert means.is_contiguous()
    torch.testing.assert_close(means.double(), expected_means, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(energy.double(), expected_energy, rtol=2e-6, atol=0)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_energies_of_half_precision_do_not_overflow(layout):
    maps = torch.full((1, 512, 16, 8), 300.0, dtype=torch.float16).to(memory_format=layout)
    means, energy = pool_stripes_torch(maps, 4)
    assert (means == 300).all()
    torch.testing.assert_close(energy, torch.full((1, 4), 512 * 32 * 300.0**2), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 4, 1), (1, 4, 3), (5, 4, 1), (2, 8, 4)])
def test_thin_maps_pool_as_well(channels, height, width):
    maps = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(1))
    for layout in (torch.channels_last, torch.contiguous_format):
        for got, expected in zip(pool_stripes_torch(maps.to(memory_format=layout), 4), in_double(maps, 4), strict=True):
            torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


def test_no_maps_give_nothing():
    means, energy = pool_stripes_torch(torch.zeros(0, 5, 8, 4), 4)
    assert means.shape == (0, 4, 5) and energy.shape == (0, 4)


def test_pooling_agrees_between_numpy_and_torch():
    maps = np.random.default_rng(0).random((3, 5, 8, 4), np.float32)
    for a, b in zip(pool_stripes(maps, 4), pool_stripes_torch(torch.from_numpy(maps), 4), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-5)

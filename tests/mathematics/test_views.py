"""The views of an image: what each one contains, and that together they lose nothing."""

import pytest
import torch

from impasto.model.views import edge_signs, guided_filter, orientation, views_of


def stripes(vertical: bool) -> torch.Tensor:
    wave = (torch.arange(64) % 8 < 4).float().expand(64, 64)
    image = wave if vertical else wave.T
    return image.expand(1, 3, 64, 64)


def test_orientation_tells_directions_apart_and_sees_no_colour() -> None:
    upright, level = orientation(stripes(True)), orientation(stripes(False))
    inside = (slice(None), slice(None), slice(8, 24), slice(8, 24))
    assert upright[inside][:, 1].mean() > 0.1  # strength x cos 2a at the finest scale
    assert level[inside][:, 1].mean() < -0.1
    image = torch.rand(1, 3, 64, 64)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    grey = (image * luma).sum(1, keepdim=True).expand_as(image)
    torch.testing.assert_close(orientation(image), orientation(grey), atol=1e-4, rtol=1e-3)


def test_orientation_sees_a_white_shape_on_a_transparent_ground() -> None:
    image = torch.ones(1, 4, 64, 64)
    image[:, 3, :, :32] = 0
    assert orientation(image)[:, 0].max() > 0.3
    assert orientation(torch.ones(1, 4, 64, 64))[:, 0].max() < 0.01


def test_signs_tell_an_image_from_its_negative_and_orientation_does_not() -> None:
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(orientation(1 - image), orientation(image), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(edge_signs(1 - image), -edge_signs(image), atol=1e-4, rtol=1e-3)
    brighter = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    along_x, along_y = edge_signs(brighter)[0, :2]
    assert along_x.min() > 0.05 and along_y.abs().max() < 1e-3
    torch.testing.assert_close(along_x.square(), orientation(brighter)[0, 0].square(), atol=1e-3, rtol=1e-2)


def test_guided_filter_keeps_edges_and_removes_grain() -> None:
    edge = torch.zeros(1, 1, 32, 32)
    edge[..., 16:] = 1
    grainy = edge + 0.03 * torch.randn_like(edge)
    smooth = guided_filter(grainy)
    assert (smooth - edge)[..., :12].std() < 0.5 * 0.03
    assert smooth[..., 18].mean() - smooth[..., 13].mean() > 0.9


@pytest.mark.parametrize("radius", [1, 2, 3, 4])
def test_guided_filter_averages_the_part_of_each_window_inside_the_image(radius: int) -> None:
    def average(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 2 * radius + 1, 1, radius, count_include_pad=False)

    image = torch.rand(2, 3, 12, 20)
    variance = average(image.square()) - average(image).square()
    slope = average(variance / (variance + 0.01))
    expected = average(image) + slope * (image - average(image))
    torch.testing.assert_close(guided_filter(image, radius), expected, atol=1e-5, rtol=1e-4)


def test_views_lose_nothing_between_them() -> None:
    image = torch.rand(2, 4, 32, 32)
    views = views_of(image, signed=True)
    residual = torch.nn.functional.pixel_shuffle(views.texture, 2) / 4
    torch.testing.assert_close(guided_filter(image) + residual, image)
    assert {tuple(v.shape[2:]) for v in views} == {(16, 16)}

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.errors import ProfileError
from helpers.family import REPRESENTATIONS, Representation
from helpers.rendering import colour_index, colour_table, render, to_png, to_rgb
from helpers.rendering.images import channels, png_to_network_input
from helpers.rendering.resampling import letterbox_shape, resample, resize_axes

JET_LINEAR, JET_LOG, GRAY_LINEAR, GRAY_LOG = REPRESENTATIONS


@pytest.fixture(scope="module")
def counts():
    """Two patterns of the paper's shape: counts that fall with the distance from the centre, up to some thousands."""
    rows, columns = np.mgrid[:123, :240]
    distance = np.hypot(rows + 0.5, columns - 119.5)
    expected = 3000 * np.sinc(distance / 25) ** 2 / (1 + distance / 4) + 0.02
    return np.random.default_rng(1).poisson([expected, expected / 100]).astype(np.uint16)


def test_jet_is_matplotlibs_table():
    jet = matplotlib.colormaps["jet"](np.arange(256), bytes=True)[:, :3]
    assert np.array_equal(colour_table("jet"), jet)


def test_gray_is_the_level_itself():
    assert np.array_equal(colour_table("gray"), np.stack([np.arange(256)] * 3, axis=1))


def test_linear_colours_are_those_of_matplotlib(counts):
    relative = counts / counts.max(axis=(1, 2), keepdims=True)
    assert np.array_equal(to_rgb(counts, JET_LINEAR), matplotlib.colormaps["jet"](relative, bytes=True)[..., :3])


def test_log_levels_are_those_of_matplotlib_away_from_the_edges_of_a_level(counts):
    levels = 256 * np.log1p(counts) / np.log1p(counts).max(axis=(1, 2), keepdims=True)
    inside = np.abs(levels - np.rint(levels)) > 1e-3
    expected = np.minimum(levels, 255).astype(int)
    assert inside.mean() > 0.01
    assert np.array_equal(colour_index(counts, "log").numpy()[inside], expected[inside])


def test_exact_ratios_of_logarithms_reach_their_level():
    assert colour_index(np.array([[[0, 1, 3, 7, 15]]]), "log").flatten().tolist() == [0, 64, 128, 192, 255]


def test_every_pattern_is_divided_by_its_own_maximum():
    patterns = np.array([[[1, 2]], [[100, 200]]], dtype=np.float32)
    assert colour_index(patterns, "linear").tolist() == [[[128, 255]], [[128, 255]]]


def test_small_pattern_renders_as_computed_by_hand():
    pattern = np.array([[[0, 1, 2], [3, 4, 4]]], dtype=np.uint16)  # levels 0 64 128 / 192 255 255, enlarged to 16 × 23
    image = render(
        pattern, GRAY_LINEAR, 3
    )  # middle row: half of picture rows 7 and 8; middle column: picture column 11
    by_hand = torch.tensor([[0, 64, 128], [96, 159.5, 191.5], [192, 255, 255]]) / 255
    torch.testing.assert_close(image, by_hand.expand(1, 3, 3, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("representation", REPRESENTATIONS, ids=str)
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [96, 416])
def test_written_out_route_gives_the_network_the_same_input(counts, representation, resize, size, tmp_path):
    images = render(counts, representation, size, resize=resize)
    for pattern, image in zip(counts, images, strict=True):
        to_png(tmp_path / "pattern.png", pattern, representation)
        written_out = png_to_network_input(tmp_path / "pattern.png", size, resize)
        assert np.abs(image.numpy() - written_out).max() < 1e-5


def test_rendering_is_nearest_enlargement_and_bilinear_resizing_with_aligned_corners(counts):
    colours = torch.from_numpy(to_rgb(counts, JET_LOG)).permute(0, 3, 1, 2) / 255
    picture = torch.nn.functional.interpolate(colours, size=(954, 1855), mode="nearest-exact")
    resized = torch.nn.functional.interpolate(picture, size=(416, 416), mode="bilinear", align_corners=True)
    torch.testing.assert_close(render(counts, JET_LOG, 416), resized, rtol=0, atol=2e-4)


def matrix(taps, pixels):
    """The matrix (size, pixels) of an axis, filled in pixel by pixel."""
    filled = torch.zeros(len(taps.first), pixels, dtype=torch.float64)
    for target, (first, second, share) in enumerate(zip(*(tap.tolist() for tap in taps), strict=True)):
        for pixel, weight in ((first, 1 - share), (second, share)):
            if pixel >= 0:
                filled[target, pixel] += weight
    return filled


@pytest.mark.parametrize("size", [5, 96, 416])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_resampling_is_a_product_with_a_matrix_on_each_side(counts, resize, size):
    rows, columns = resize_axes((123, 240), size, resize)
    for representation in (JET_LOG, GRAY_LOG):
        pixels = channels(counts, representation)
        product = matrix(rows, 123) @ pixels.double() @ matrix(columns, 240).T
        images = resample(pixels, rows, columns)
        torch.testing.assert_close(images.double(), product.expand(-1, 3, -1, -1), rtol=0, atol=2e-7)


def test_half_precision_of_a_training_loop_does_not_blur_the_colours(counts):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        images = render(counts, JET_LOG, 96)
    assert images.dtype == torch.float32
    assert torch.equal(images, render(counts, JET_LOG, 96))


@pytest.mark.parametrize("representation", REPRESENTATIONS, ids=str)
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_images_lie_in_memory_as_the_networks_want_them(counts, representation, resize):
    assert render(counts, representation, 96, resize=resize).is_contiguous(memory_format=torch.channels_last)


def test_png_is_the_papers_size_and_nearest_neighbour(counts, tmp_path):
    to_png(tmp_path / "pattern.png", counts[0], JET_LINEAR)
    with Image.open(tmp_path / "pattern.png") as picture:
        assert (picture.size, picture.mode) == ((1855, 954), "RGB")
        small = Image.fromarray(to_rgb(counts[0], JET_LINEAR))
        by_pillow = np.asarray(small.resize((1855, 954), Image.Resampling.NEAREST))
        between_two_pixels = (2 * np.arange(1855) + 1) * 240 % (2 * 1855) == 0  # Pillow rounds either way
        assert between_two_pixels.sum() == 5
        assert np.array_equal(np.asarray(picture)[:, ~between_two_pixels], by_pillow[:, ~between_two_pixels])


def test_letterbox_of_the_papers_picture_covers_213_of_416_rows(counts):
    assert letterbox_shape((954, 1855), 416) == (213, 416)
    image = render(counts, JET_LINEAR, 416, resize="letterbox")
    gray_rows = (image == 0.5).all(dim=(0, 1, 3))
    assert gray_rows.nonzero().flatten().tolist() == [*range(101), *range(314, 416)]


def test_letterbox_of_an_upright_picture_leaves_columns():
    image = render(np.ones((1, 240, 60)), GRAY_LINEAR, 64, resize="letterbox")
    assert (image == 0.5).all(dim=(0, 1, 2)).sum() == 64 - 464 * 64 // 1861


@pytest.mark.parametrize("representation", REPRESENTATIONS, ids=str)
def test_pattern_without_photons_has_the_colour_of_zero(representation):
    image = render(np.zeros((1, 123, 240), dtype=np.uint16), representation, 32)
    zero = torch.from_numpy(colour_table(representation.colour)[0]) / 255
    torch.testing.assert_close(image, zero[None, :, None, None].expand(1, 3, 32, 32), rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.sampled_from(["stretch", "letterbox"]))
def test_any_shape_and_size_gives_images_between_0_and_1(rows, columns, size, resize):
    pattern = np.arange(rows * columns).reshape(1, rows, columns)
    if min(letterbox_shape((rows * 7, columns * 7), size)) < 2:
        return
    image = render(pattern, JET_LOG, size, resize=resize)
    assert image.shape == (1, 3, size, size)
    assert -1e-6 <= image.min() <= image.max() <= 1 + 1e-6


def test_an_image_does_not_depend_on_its_batch(counts):
    one_by_one = torch.cat([render(pattern[None], JET_LOG, 96) for pattern in counts])
    torch.testing.assert_close(render(counts, JET_LOG, 96), one_by_one, rtol=0, atol=1e-6)


def test_half_precision_of_the_training_loop_does_not_blur_colours(counts):
    with torch.autocast("cpu", torch.bfloat16):
        image = render(counts, JET_LINEAR, 96)
    assert image.dtype == torch.float32
    assert torch.equal(image, render(counts, JET_LINEAR, 96))


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_a_batch_of_many_blocks_renders_as_its_patterns_do(counts, resize):
    many = np.random.default_rng(2).permuted(np.repeat(counts, 19, axis=0), axis=2)
    images = render(many, JET_LINEAR, 64, resize=resize)
    assert images.is_contiguous(memory_format=torch.channels_last)
    for pattern, image in zip(many, images, strict=True):
        assert torch.equal(image, render(pattern[None], JET_LINEAR, 64, resize=resize)[0])


def test_read_only_counts_and_float_tensors_render_alike(counts):
    frozen = counts.copy()
    frozen.flags.writeable = False
    assert torch.equal(render(frozen, GRAY_LOG, 64), render(torch.from_numpy(counts.astype(np.float32)), GRAY_LOG, 64))


def test_empty_batch_renders_to_no_images():
    assert render(np.zeros((0, 123, 240), dtype=np.uint16), GRAY_LINEAR, 64).shape == (0, 3, 64, 64)


def test_unknown_resize_is_refused(counts, tmp_path):
    with pytest.raises(ProfileError, match="stretch, letterbox"):
        render(counts, Representation("jet", "log"), 64, resize="squeeze")
    with pytest.raises(ProfileError, match="squeeze"):
        png_to_network_input(tmp_path / "absent.png", 64, "squeeze")


def test_rendering_needs_neither_matplotlib_nor_pillow():
    load = "import sys; from helpers.rendering import Augmentation"
    command = f"{load}; sys.exit(bool({{'matplotlib', 'PIL'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0

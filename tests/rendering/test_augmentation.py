import colorsys

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.errors import ProfileError
from helpers.family import REPRESENTATIONS, Representation
from helpers.rendering import Augmentation, draw_numbers, render, render_augmented, to_png
from helpers.rendering.augmentation import changes, distort, place_axes
from helpers.rendering.images import png_to_network_input

JET = Representation("jet", "log")
GRAY = Representation("gray", "linear")
GEOMETRY_ONLY = {"hue": 0.0, "saturation": 1.0, "exposure": 1.0}
NO_BOXES = torch.full((6, 4), torch.nan)


@pytest.fixture(scope="module")
def counts():
    return np.random.default_rng(2).poisson(1.5, (6, 123, 240)).astype(np.uint16)


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def draw(number, augmentation, generator):
    return changes(draw_numbers(number, generator), augmentation)


def pictures(counts, tmp_path):
    """The written-out pictures as Darknet would load them, float32 (954, 1855, 3)."""
    for pattern in counts:
        to_png(tmp_path / "pattern.png", pattern, JET)
        with Image.open(tmp_path / "pattern.png") as picture:
            yield np.asarray(picture)


def uniform(draws, column, limit):
    """Darknet's rand_uniform(-limit, limit) from the numbers of a batch."""
    return (draws.sides[:, column].numpy() * 2 - 1) * limit


def test_crop_is_darknets_crop_resize_and_flip_of_the_picture(counts, tmp_path):
    augmentation = Augmentation(method="crop", jitter=0.2, **GEOMETRY_ONLY)
    images, _ = render_augmented(counts, NO_BOXES, JET, 96, augmentation, seeded())
    draws = draw(6, augmentation, seeded())
    left, right, top, bottom = (
        uniform(draws, side, limit).astype(int) for side, limit in enumerate((371, 371, 190, 190))
    )
    assert min(left.min(), right.min()) < 0 < max(left.max(), right.max())
    assert set(draws.flip.tolist()) == {True, False}
    for pattern, picture in enumerate(pictures(counts, tmp_path)):
        rows = np.clip(np.arange(top[pattern], 954 - bottom[pattern]), 0, 953)
        columns = np.clip(np.arange(left[pattern], 1855 - right[pattern]), 0, 1854)
        Image.fromarray(picture[rows][:, columns]).save(tmp_path / "crop.png")
        expected = png_to_network_input(tmp_path / "crop.png", 96)
        expected = expected[..., ::-1] if draws.flip[pattern] else expected
        assert np.abs(images[pattern].numpy() - expected).max() < 1e-5


def placed(picture, wide, tall, left, top, size):
    """Darknet's place_image, pixel by pixel along each axis."""
    canvas = np.full((size, size, 3), 0.5, dtype=np.float32)
    padded = np.pad(picture.astype(np.float32) / 255, ((0, 1), (0, 1), (0, 0)))  # black beyond the last pixel
    y = np.arange(tall, dtype=np.float32) / np.float32(tall) * np.float32(picture.shape[0])
    x = np.arange(wide, dtype=np.float32) / np.float32(wide) * np.float32(picture.shape[1])
    iy, ix = y.astype(int), x.astype(int)
    dy, dx = (y - iy)[:, None, None], (x - ix)[None, :, None]
    above = (1 - dx) * padded[iy][:, ix] + dx * padded[iy][:, ix + 1]
    below = (1 - dx) * padded[iy + 1][:, ix] + dx * padded[iy + 1][:, ix + 1]
    canvas[top : top + tall, left : left + wide] = (1 - dy) * above + dy * below
    return canvas


def test_place_is_darknets_place_image_on_a_gray_canvas(counts, tmp_path):
    augmentation = Augmentation(method="place", jitter=0.3, **GEOMETRY_ONLY)
    images, _ = render_augmented(counts, NO_BOXES, JET, 96, augmentation, seeded())
    draws = draw(6, augmentation, seeded())
    aspect = (1855 + uniform(draws, 0, 0.3 * 1855)) / (954 + uniform(draws, 1, 0.3 * 954))
    wide, tall = np.where(aspect < 1, 96 * aspect, 96), np.where(aspect < 1, 96, 96 / aspect)
    left, top = draws.sides[:, 2].numpy() * (96 - wide), draws.sides[:, 3].numpy() * (96 - tall)
    spans = np.stack([wide, tall, left, top], axis=1).astype(int)
    for pattern, picture in enumerate(pictures(counts, tmp_path)):
        expected = placed(picture, *spans[pattern], 96)
        expected = expected[:, ::-1] if draws.flip[pattern] else expected
        assert np.abs(images[pattern].permute(1, 2, 0).numpy() - expected).max() < 1e-5


def test_place_is_black_beyond_the_last_pixel_of_a_small_picture():
    augmentation = Augmentation(method="place", jitter=0.0, flip=False, **GEOMETRY_ONLY)
    images, _ = render_augmented(np.ones((1, 2, 3)), torch.full((1, 4), torch.nan), GRAY, 92, augmentation, seeded())
    assert torch.equal(images[0, 0, :, -4:].amax(dim=0), torch.tensor([1.0, 0.75, 0.5, 0.5]))  # 92 = 4 × 23


@pytest.mark.parametrize("representation", REPRESENTATIONS, ids=str)
def test_everything_off_is_plain_rendering(counts, representation):
    off = Augmentation(method="crop", jitter=0.0, flip=False, **GEOMETRY_ONLY)
    boxes = torch.tensor([[0.5, 0.25, 0.5, 0.5]]).repeat(6, 1)
    images, followed = render_augmented(counts, boxes, representation, 96, off, seeded())
    torch.testing.assert_close(images, render(counts, representation, 96), rtol=0, atol=1e-6)
    assert torch.equal(followed, boxes)


@pytest.mark.parametrize("channel_count", [1, 3])
def test_distortion_agrees_with_the_colour_module_of_python(channel_count):
    colours = torch.rand(1, channel_count, 8, 8, generator=seeded())
    colours[0, :, 0, 0], colours[0, :, 0, 1], colours[0, :, 0, 2] = 0, 1, 0.25
    distorted = distort(colours, *(torch.tensor([value]) for value in (-0.07, 1.4, 0.8)))
    for before, after in zip(
        colours.expand(1, 3, 8, 8).flatten(2)[0].T, distorted.expand(1, 3, 8, 8).flatten(2)[0].T, strict=True
    ):
        hue, saturation, value = colorsys.rgb_to_hsv(*before.tolist())
        expected = colorsys.hsv_to_rgb((hue - 0.07) % 1, saturation * 1.4, value * 0.8)
        assert after.tolist() == pytest.approx([min(max(level, 0), 1) for level in expected], abs=1e-5)


def test_hue_and_saturation_do_nothing_to_gray_images(counts):
    distorted = Augmentation(jitter=0.0, flip=False, hue=0.3, saturation=2.0, exposure=1.0)
    images, _ = render_augmented(counts, NO_BOXES, GRAY, 64, distorted, seeded())
    torch.testing.assert_close(images, render(counts, GRAY, 64), rtol=0, atol=1e-6)


def test_exposure_brightens_or_darkens_and_stays_between_0_and_1(counts):
    images, _ = render_augmented(counts, NO_BOXES, GRAY, 64, Augmentation(jitter=0, flip=False, exposure=1.5), seeded())
    plain = render(counts, GRAY, 64)
    factors = draw(6, Augmentation(exposure=1.5), seeded()).exposure
    assert factors.min() < 1 < factors.max()
    torch.testing.assert_close(images, (plain * factors[:, None, None, None]).clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["crop", "place"])
def test_boxes_stay_on_the_object(method):
    pattern = np.zeros((1, 123, 240), dtype=np.uint16)
    pattern[:, 30:90, 60:150] = 1
    box = torch.tensor([[105 / 240, 60 / 123, 90 / 240, 60 / 123]])
    augmentation = Augmentation(method=method, jitter=0.2, **GEOMETRY_ONLY)
    images, boxes = render_augmented(pattern.repeat(40, axis=0), box.repeat(40, 1), GRAY, 200, augmentation, seeded())
    for image, followed in zip(images[:, 0], boxes, strict=True):
        bright = image > 0.75
        rows, columns = bright.any(dim=1).nonzero().flatten(), bright.any(dim=0).nonzero().flatten()
        seen = torch.tensor([columns[0], columns[-1] + 1, rows[0], rows[-1] + 1]) / 200
        centre, half = followed[:2], followed[2:] / 2
        edges = torch.stack([centre - half, centre + half], dim=1).flatten()
        torch.testing.assert_close(seen, edges, rtol=0, atol=2.5 / 200)


def test_patterns_without_a_box_stay_without(counts):
    _, boxes = render_augmented(counts, NO_BOXES, JET, 32, Augmentation(), seeded())
    assert boxes.isnan().all()


def test_boxes_that_leave_the_picture_are_dropped_and_the_others_clipped():
    at_the_edge = torch.tensor([[0.0005, 0.5, 0.001, 0.2]]).repeat(200, 1)
    patterns = np.ones((200, 2, 3))
    _, boxes = render_augmented(patterns, at_the_edge, GRAY, 4, Augmentation(flip=False), seeded())
    left = draw(200, Augmentation(flip=False), seeded()).sides[:, 0] * 2 - 1
    assert boxes[left > 0.3].isnan().all()
    assert not boxes[left < -0.3].isnan().all()
    edges = torch.stack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])
    kept = edges[~edges.isnan()]
    assert -1e-6 <= kept.min() <= kept.max() <= 1 + 1e-6


def test_same_seed_gives_the_same_images_and_leaves_global_randomness_alone(counts):
    state = torch.get_rng_state()
    first = render_augmented(counts, NO_BOXES, JET, 48, Augmentation(), seeded(5))[0]
    second = render_augmented(counts, NO_BOXES, JET, 48, Augmentation(), seeded(5))[0]
    other = render_augmented(counts, NO_BOXES, JET, 48, Augmentation(), seeded(6))[0]
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_strengths_do_not_change_the_order_of_random_numbers():
    generators = [seeded(), seeded()]
    strong, off = (
        draw(5, augmentation, generator)
        for augmentation, generator in zip((Augmentation(), Augmentation(hue=0, flip=False)), generators, strict=True)
    )
    assert torch.equal(strong.sides, off.sides)
    assert torch.equal(strong.exposure, off.exposure)
    assert torch.equal(*(generator.get_state() for generator in generators))


def test_draws_fill_darknets_ranges():
    draws = draw(4000, Augmentation(hue=0.1, saturation=1.5, exposure=2.0), seeded())
    assert draws.flip.float().mean() == pytest.approx(0.5, abs=0.03)
    assert (draws.hue.min(), draws.hue.max()) == (pytest.approx(-0.1, abs=1e-3), pytest.approx(0.1, abs=1e-3))
    assert (draws.saturation.min(), draws.saturation.max()) == (
        pytest.approx(1 / 1.5, abs=1e-3),
        pytest.approx(1.5, abs=1e-3),
    )
    assert (draws.exposure < 1).float().mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("method", ["crop", "place"])
def test_taps_stay_on_the_detector_or_are_marked_as_outside(method):
    draws = draw(20, Augmentation(), seeded())
    axes = place_axes((123, 240), 96, Augmentation(method=method), draws)
    for axis, pixels in zip(axes, (123, 240), strict=True):
        first, second, share = axis.taps
        both = (first >= 0) & (second >= 0)
        assert max(first.max(), second.max()) < pixels
        assert ((second - first)[both] >= 0).all()
        assert ((second - first)[both] <= 1).all()
        assert ((share >= 0) & (share < 1))[first >= 0].all()
    outside = (axes[0].taps.first < 0).any(dim=1)
    assert outside.all() if method == "place" else not outside.any()  # a wide picture leaves rows of the square empty


@pytest.mark.parametrize(
    "wrong", [{"method": "mosaic"}, {"jitter": 0.5}, {"hue": -0.1}, {"saturation": 0.5}, {"exposure": 0}]
)
def test_impossible_strengths_are_refused(wrong):
    with pytest.raises(ProfileError, match=str(next(iter(wrong.values())))):
        Augmentation(**wrong)

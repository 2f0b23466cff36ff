"""Letters that are easy to confuse, drawn from the fonts that come with matplotlib: a data set that every machine can make without a network."""

from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

LETTERS = tuple("aceogqyuvn")  # a c e o are alike, so are g q y, and u v n
# Three groups of fonts that share no file: what is learned on the first has to hold for letter shapes never seen.
FONTS = {
    "train": (
        "DejaVuSans",
        "DejaVuSans-BoldOblique",
        "DejaVuSansMono-Bold",
        "DejaVuSerif",
        "DejaVuSerif-Bold",
        "STIXGeneral",
        "STIXGeneralBol",
        "cmr10",
        "cmti10",
    ),
    "validation": ("DejaVuSans-Oblique", "DejaVuSerif-Italic", "STIXGeneralItalic", "cmtt10"),
    "test": ("DejaVuSansMono", "DejaVuSerif-BoldItalic", "STIXGeneralBolIta", "cmb10", "cmss10"),
}
SIDE = 96  # pixels of a glyph's distance map
BODY = 64  # of them, the longer side of the glyph
CHUNK = 1000


def make(seed: int = 0, train: int = 8000, validation: int = 2000, test: int = 10_000) -> dict[str, np.ndarray]:
    """Warped letters as the arrays of an .npz file: uint8 images `[N,28,28]`, light on dark, with labels and the names of the classes.

    The last `validation` training images are of fonts that the others are not of, and so are the test images: `kd.hold_out(split, 2000)` gives the first.
    Raises ValueError for a count below 1.
    """
    counts = {"train": train, "validation": validation, "test": test}
    if wrong := [name for name, count in counts.items() if count < 1]:
        raise ValueError(f"{wrong[0]} is {counts[wrong[0]]} images; expected at least 1")
    made = {part: _draw(part, count, np.random.default_rng([seed, k])) for k, (part, count) in enumerate(counts.items())}
    images, labels = ([np.concatenate([made["train"][k], made["validation"][k]]), made["test"][k]] for k in (0, 1))
    return {
        "train_images": images[0],
        "train_labels": labels[0],
        "test_images": images[1],
        "test_labels": labels[1],
        "classes": np.array(LETTERS),
    }


def _draw(part: str, count: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """`count` letters of a group of fonts, all classes and fonts as often as each other, in a random order."""
    maps = np.stack([[distance_map(font, letter) for letter in LETTERS] for font in FONTS[part]])
    order = rng.permutation(count)
    labels, fonts = order % len(LETTERS), order // len(LETTERS) % len(FONTS[part])
    images = np.empty((count, 28, 28), np.uint8)
    for start in range(0, count, CHUNK):
        these = slice(start, start + CHUNK)
        images[these] = _warp(maps[fonts[these], labels[these]], rng)
    return images, labels.astype(np.int64)


def distance_map(font: str, letter: str) -> np.ndarray:
    """How far each pixel lies inside (positive) or outside a letter's outline, in pixels of a glyph whose longer side is `BODY`: float32 `[SIDE,SIDE]`.

    Another threshold than 0 makes the strokes thicker or thinner. Raises ValueError where matplotlib does not have the font.
    """
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    if not path.exists():
        raise ValueError(f"this matplotlib ({matplotlib.__version__}) comes without {path.name}; expected it in {path.parent}")
    drawn = Image.new("L", (400, 400))
    ImageDraw.Draw(drawn).text((200, 200), letter, fill=255, font=ImageFont.truetype(str(path), 200), anchor="mm")
    glyph = drawn.crop(drawn.getbbox())
    factor = BODY / max(glyph.size)
    glyph = glyph.resize([max(1, round(side * factor)) for side in glyph.size], Image.Resampling.LANCZOS)
    canvas = Image.new("L", (SIDE, SIDE))
    canvas.paste(glyph, ((SIDE - glyph.width) // 2, (SIDE - glyph.height) // 2))
    inside = np.asarray(canvas) > 127
    return (ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)).astype(np.float32)


def _warp(maps: np.ndarray, rng) -> np.ndarray:
    """Every glyph once as a hand might have written it: turned, sheared, stretched, moved, bent, thick or thin, blurred, with noise."""
    n = len(maps)

    def draw(low, high):
        return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

    y, x = np.meshgrid(np.arange(28, dtype=np.float32) - 13.5, np.arange(28, dtype=np.float32) - 13.5, indexing="ij")
    x, y = x[None] + draw(-2, 2), y[None] + draw(-2, 2)
    angle, shear = draw(-0.35, 0.35), draw(-0.35, 0.35)
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    x, y = (x + shear * y) / draw(0.75, 1.15), y / draw(0.75, 1.15)
    for _ in range(2):  # waves longer than a letter bend it, shorter ones would tear it
        bend, wave, phase = draw(0, 1.3), draw(0.15, 0.4), draw(0, 2 * np.pi)
        x, y = x + bend * np.sin(wave * y + phase), y + draw(0, 1.3) * np.sin(wave * x + draw(0, 2 * np.pi))
    unit = BODY / 20  # the longer side of a letter is 20 of 28 pixels before it is stretched
    grid = np.stack([x, y], axis=-1) * unit / (SIDE / 2)
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(maps)[:, None], torch.from_numpy(grid.astype(np.float32)), padding_mode="border", align_corners=False
    )
    distance = sampled[:, 0].numpy() / unit + draw(-0.35, 0.6)  # in pixels of the image
    ink = 1 / (1 + np.exp(-distance / draw(0.25, 0.7)))
    ink = ink * draw(0.6, 1) + rng.normal(0, 1, ink.shape).astype(np.float32) * draw(0, 0.14)
    return (np.clip(ink, 0, 1) * 255).round().astype(np.uint8)

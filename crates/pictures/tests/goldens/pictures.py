"""Pictures of digits by another program: Pillow 13.0.0, with the fonts of DejaVu 2.37 and Liberation 2.

python pictures.py [FOLDER OF FONTS]

The name of a picture begins with the digit that is on it.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/fonts/truetype")
FOLDER = Path(__file__).parent / "pictures"
rng = np.random.default_rng(6)


def printed(digit, font, width, height, turn=0.0):
    """Ink of a digit of a font, from 0 to 1."""
    font = ImageFont.truetype(str(FONTS / font), int(min(width, height) * 0.7))
    picture = Image.new("L", (width, height), 0)
    ImageDraw.Draw(picture).text((width / 2, height / 2), digit, fill=255, font=font, anchor="mm")
    return np.asarray(picture.rotate(turn, Image.BICUBIC)).astype(float) / 255


def drawn(strokes, width, height, pen):
    """Ink of strokes with a pen, from 0 to 1; drawn large and made small, so that edges are smooth."""
    picture = Image.new("L", (4 * width, 4 * height), 0)
    pencil = ImageDraw.Draw(picture)
    for stroke in strokes:
        points = [(4 * width * x, 4 * height * y) for x, y in stroke]
        pencil.line(points, fill=255, width=4 * pen, joint="curve")
    return np.asarray(picture.resize((width, height), Image.LANCZOS)).astype(float) / 255


def light(ink, angle, middle, slope, noise=3.0):
    """Paper in light that falls off in a direction."""
    height, width = ink.shape
    y, x = np.mgrid[0:height, 0:width]
    t = np.cos(angle) * (x / width - 0.5) + np.sin(angle) * (y / height - 0.5)
    paper = middle + slope * t
    return paper, rng.normal(0, noise, ink.shape)


def save(name, values, **options):
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(FOLDER / name, **options)


def photo(name, ink, angle, middle=165, slope=130, **options):
    """Dark ink on bright paper, in uneven light, warm."""
    paper, noise = light(ink, angle, middle, slope)
    grey = paper * (1 - 0.75 * ink) + noise
    save(name, np.stack([grey, 0.97 * grey, 0.9 * grey], -1), quality=75, **options)


FOLDER.mkdir(exist_ok=True)
sans, serif, bold = "dejavu/DejaVuSans.ttf", "dejavu/DejaVuSerif.ttf", "dejavu/DejaVuSans-Bold.ttf"
liberation = "liberation/LiberationSans-Regular.ttf"

save("0-black-on-white.png", 255 * (1 - printed("0", sans, 90, 140)))
save("3-white-on-black.png", 255 * printed("3", bold, 120, 120, 6))
photo("2-photo.jpg", printed("2", serif, 160, 120, -5), 0.6)
photo("5-photo.jpg", printed("5", liberation, 150, 150, 4), 2.5)
photo("8-photo.jpg", printed("8", sans, 120, 160), 4.0, middle=120, slope=100)

seven = [[(0.3, 0.25), (0.7, 0.25), (0.48, 0.8)]]
four = [[(0.6, 0.8), (0.6, 0.2), (0.3, 0.62), (0.75, 0.62)]]
photo("7-pen.jpg", drawn(seven, 200, 200, 3), 1.2)
photo("4-pen.jpg", drawn(four, 180, 220, 4), 5.5)
paper, noise = light(drawn(seven, 160, 160, 8), 3.0, 50, 60)
save("7-chalk.jpg", paper + 150 * drawn(seven, 160, 160, 8) + noise, quality=75)

# On its side, and EXIF says so: 6 means that the top is at the right of what is stored.
ink = np.rot90(printed("6", liberation, 120, 150), 1)
exif = Image.Exif()
exif[0x0112] = 6
photo("6-turned.jpg", ink, 0.3, exif=exif)

# Kinds of pixels.
nine = printed("9", sans, 80, 100)
Image.fromarray(((1 - nine) * 65535).astype(np.uint16)).save(FOLDER / "9-sixteen-bits.png")
alpha = np.zeros((*nine.shape, 4), np.uint8)
alpha[..., 3] = nine * 255
Image.fromarray(alpha, "RGBA").save(FOLDER / "9-transparent.png")
Image.fromarray((255 * (1 - nine)).astype(np.uint8)).quantize(8).save(FOLDER / "9-palette.png")
Image.fromarray(nine > 0.5).save(FOLDER / "9-one-bit.png")

"""One stable colour per identity, the same in every camera, on the web page and in the report."""

import math
from typing import TypeAlias

Bgr: TypeAlias = tuple[int, int, int]

UNKNOWN_BGR: Bgr = (150, 150, 150)  # identity 0: not known yet
UNIDENTIFIED_FROM = 1_000_000  # the recorder numbers tracks that never got an identity from here up
GOLDEN_ANGLE_DEG = 137.50776405003785  # 360° · (2 − φ): every prefix of the sequence spreads well over the circle
FIRST_HUE_DEG = 255.0  # blue, far from skin and from the amber of the badge
# (OKLCH lightness, chroma), taken in turn. Hues come close again after 8 and 13 steps (Fibonacci numbers), and three
# tones make those pairs differ in lightness; two would not (8 is even). Chroma is reduced where sRGB ends.
_TONES = ((0.84, 0.16), (0.52, 0.20), (0.68, 0.19))


def identity_colour(identity_id: int) -> Bgr:
    """The colour of an identity, (B, G, R) 0 to 255; grey for 0 (not known yet) and for tracks that never got one."""
    if identity_id <= 0 or identity_id >= UNIDENTIFIED_FROM:
        return UNKNOWN_BGR
    step = identity_id - 1
    lightness, chroma = _TONES[step % len(_TONES)]
    return _oklch_to_bgr(lightness, chroma, FIRST_HUE_DEG + step * GOLDEN_ANGLE_DEG)


def text_colour(background: Bgr) -> Bgr:
    """Black or white, whichever has the higher contrast on `background` (WCAG 2 relative luminance)."""
    b, g, r = (_linear(channel / 255) for channel in background)
    luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b
    # contrast is (lighter + .05) / (darker + .05); the two are equal at sqrt(1.05 · 0.05) − 0.05
    return (0, 0, 0) if luminance > math.sqrt(1.05 * 0.05) - 0.05 else (255, 255, 255)


def hex_colour(colour: Bgr) -> str:
    """`#rrggbb` for HTML."""
    b, g, r = colour
    return f"#{r:02x}{g:02x}{b:02x}"


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _gamma(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def _oklch_to_bgr(lightness: float, chroma: float, hue_deg: float) -> Bgr:
    """The nearest sRGB colour of the same lightness and hue: chroma shrinks until all channels fit."""
    while True:
        rgb = _oklch_to_linear_rgb(lightness, chroma, math.radians(hue_deg))
        if chroma <= 0 or all(-1e-4 <= channel <= 1 + 1e-4 for channel in rgb):
            r, g, b = (round(255 * _gamma(min(max(channel, 0.0), 1.0))) for channel in rgb)
            return b, g, r
        chroma -= 0.005


def _oklch_to_linear_rgb(lightness: float, chroma: float, hue_rad: float) -> tuple[float, float, float]:
    """Björn Ottosson's OKLab (2020): distances in it match what the eye tells apart better than HSV's do."""
    a, b = chroma * math.cos(hue_rad), chroma * math.sin(hue_rad)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )

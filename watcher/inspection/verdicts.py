"""What an inspection can answer.

Three answers are values, because all three are expected every day: an `Image` that the service
takes, an `Incomplete` one whose end is missing (still arriving, until it has been unchanged for
long enough), and a `Refusal` that no waiting will mend.
"""

from typing import Literal, NamedTuple

Format = Literal["jpeg", "png", "tiff", "webp"]
"""The four formats that the service accepts (its documentation, *Input Limitations*)."""

RefusalCode = Literal["raw", "other_format", "not_an_image", "damaged", "too_large"]
"""The `reason` in the log. `raw`: a camera's RAW file; `other_format`: recognised as something that
the service does not take (HEIC, PSD, GIF, PDF, ...); `not_an_image`: nothing known;
`damaged`: one of the four formats, but not readable; `too_large`: over `MAX_SIDE`."""

MAX_SIDE = 10_000
"""Pixels on each side that the service accepts at most (its documentation)."""

SCALED_DOWN_OVER = 4_096
"""Pixels on a side above which the service scales the image down (its documentation)."""


class Image(NamedTuple):
    """A whole image that the service takes. Width and height are in pixels as stored in the file
    (an EXIF orientation changes neither limit)."""

    format: Format
    width: int
    height: int

    @property
    def will_be_scaled_down(self) -> bool:
        """True if the service will reduce it."""
        return max(self.width, self.height) > SCALED_DOWN_OVER


class Incomplete(NamedTuple):
    """The file stops before its format says that it ends. `found` says where, for people."""

    found: str


class Refusal(NamedTuple):
    """The service would not take this. `found` is one plain phrase for a photographer, such as
    "a Nikon RAW file (NEF)" or "12000 x 800 pixels"; it holds no text from the file itself."""

    code: RefusalCode
    found: str


Verdict = Image | Incomplete | Refusal

"""Tokens of an image in a prompt, by the rules that OpenAI documents. Always an estimate, since actual bills can differ.

(https://platform.openai.com/docs/guides/images-vision#calculating-costs)
"""

import base64
import binascii
import math
import struct

TILES = {
    "gpt-4o-mini": (2833, 5667),
    "gpt-5": (70, 140),
    "o1": (75, 150),
    "o3": (75, 150),
    "computer-use-preview": (65, 129),
    "": (85, 170),
}
"""Tokens per image and tokens per tile of 512 pixels, by prefix of the model's name. All other models count like gpt-4o."""
PATCHES = {"gpt-4.1-mini": 1.62, "gpt-4.1-nano": 2.46, "o4-mini": 1.72, "gpt-5-mini": 1.62, "gpt-5-nano": 2.46}
"""Models that count patches of 32 pixels, and the tokens per patch."""
MOST_PATCHES = 1536
UNKNOWN_SIZE = (1024, 1024)
"""The assumed size of an image whose size is unknown, for example one given by URL."""


def image_tokens(model: str, size: tuple[int, int] | None, detail: str = "auto") -> int:
    """Tokens of an image of `size` (width and height in pixels). `detail` is `low`, `high` or `auto`, which counts as `high`."""
    width, height = size or UNKNOWN_SIZE
    model = model.removeprefix("openai/")
    for name, price in PATCHES.items():
        if model.startswith(name):
            return math.ceil(_patches(width, height) * price)
    base, tile = next(cost for name, cost in TILES.items() if model.startswith(name))
    return base if detail == "low" else base + tile * _tiles(width, height)


def _tiles(width: int, height: int) -> int:
    # Scaled down to fit into a square of 2048 pixels, then to 768 pixels on the shorter side.
    shrink = min(1.0, 2048 / max(width, height))
    shrink *= min(1.0, 768 / (min(width, height) * shrink))
    return math.ceil(round(width * shrink, 6) / 512) * math.ceil(round(height * shrink, 6) / 512)


def _patches(width: int, height: int) -> int:
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    if patches <= MOST_PATCHES:
        return patches
    shrink = math.sqrt(32 * 32 * MOST_PATCHES / (width * height))
    across, down = width * shrink / 32, height * shrink / 32
    # Scaled down further so that whole patches fit on both sides.
    shrink *= min(math.floor(across) / across, math.floor(down) / down)
    return min(MOST_PATCHES, math.ceil(round(width * shrink / 32, 6)) * math.ceil(round(height * shrink / 32, 6)))


def data_size(url: str) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF or JPEG in a `data:` URL; `None` for anything else."""
    head, separator, data = url.partition(";base64,")
    if not separator or not head.startswith("data:image/"):
        return None
    try:
        content = base64.b64decode(data, validate=True)
        return _size(content)
    except (binascii.Error, struct.error, IndexError):
        return None


def _size(content: bytes) -> tuple[int, int] | None:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack(">II", content[16:24])
    elif content.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack("<HH", content[6:10])
    elif content.startswith(b"\xff\xd8"):
        return _jpeg(content)
    else:
        return None
    return (width, height) if width and height else None


def _jpeg(content: bytes) -> tuple[int, int] | None:
    at = 2
    while content[at] == 0xFF:
        marker, length = struct.unpack(">BH", content[at + 1 : at + 4])
        # A frame header, of which there are thirteen kinds (ITU T.81, table B.1).
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return (width, height) if width and height else None
        at += 2 + length
    return None

"""One picture in each format that is taken, and a preprocessor of small bounds."""

from services.vision_encoder.preprocess import ImageConfig, ImagePreprocessor
from tests.media import encoded, gradient

SIZE = 32
preprocess = ImagePreprocessor(ImageConfig(size=SIZE), max_bytes=100_000, max_pixels=1_000_000)

FILES = {
    "JPEG": encoded(gradient(), "JPEG", quality=95),
    "progressive JPEG": encoded(gradient(), "JPEG", quality=95, progressive=True),
    "PNG": encoded(gradient(), "PNG"),
    "WebP": encoded(gradient(), "WEBP", quality=95),
    "lossless WebP": encoded(gradient(), "WEBP", lossless=True),
    "GIF": encoded(gradient("L"), "GIF"),
    "BMP": encoded(gradient(), "BMP"),
}

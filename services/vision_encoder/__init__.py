"""The vision encoder: an image file in, an embedding out."""

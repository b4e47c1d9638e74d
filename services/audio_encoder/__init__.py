"""The audio encoder: a sound file in, an embedding out."""

"""The text encoder: text in, an embedding out."""

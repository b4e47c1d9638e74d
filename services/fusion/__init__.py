"""Fusion: one to three embeddings in, a class out."""

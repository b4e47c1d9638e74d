"""Flat scripts that train the models over the same preprocessing and encoders that serve them."""

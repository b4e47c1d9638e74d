"""The gateway: HTTP in, the encoders and fusion behind it, a class out."""

"""Scripts that make the models: data, embeddings by the serving encoders, training, judgement."""

# Importing torchvision needs what this package does at import.
import services  # noqa: F401

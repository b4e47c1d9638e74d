"""The nodes of the mesh: three encoders and fusion, each a process of its own."""

from services.native import cure_imports

# Here, so that it comes before the first import of torchvision, torchaudio and transformers.
cure_imports()

"""The nodes of the mesh: three encoders and fusion, each a process of its own."""

import os

# Before torch is loaded, whose threads else wait for each other by spinning. Where more of them run
# than there are cores, that makes a forward pass take seconds (measured: 40 ms become 1400).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from services.native import cure_when_needed

# Here, so that it comes before the first import of torchvision, torchaudio and transformers.
cure_when_needed()

"""The nodes of the mesh: three encoders and fusion, each a process of its own."""

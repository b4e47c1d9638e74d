"""What every process needs to take part in the mesh, and nothing else."""

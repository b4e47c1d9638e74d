"""How fast the mesh is, beside what the processor can do and beside other servers: `make bench`.

    python -m benchmarks [SECTION...] [--quick] [--runs N]

`sections` measures, one file each; `bars` says what is to be reached; `table` and `charts` show it.
"""

"""A package whose `__main__` tells where this module was loaded: `python -m` it."""

import os

LOADED_BY = os.getpid()

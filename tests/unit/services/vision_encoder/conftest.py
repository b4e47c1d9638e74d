"""What torchvision itself computes needs its import cured before the tests import it."""

import services

assert services

"""Parity with other libraries needs their imports cured before the tests import them."""

import services

assert services

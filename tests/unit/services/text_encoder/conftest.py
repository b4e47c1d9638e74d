"""Tests against transformers need its imports cured before they import it."""

import services

assert services

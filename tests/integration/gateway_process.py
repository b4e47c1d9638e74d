"""The real gateway process over a fake mesh: `python -m tests.integration.gateway_process`."""

from gateway.__main__ import main
from tests.gateway_fakes import open_fake

if __name__ == "__main__":
    main(open_fake)

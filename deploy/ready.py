"""A container's HEALTHCHECK: is its process ready? `ready.py VARIABLE DEFAULT` names the port.

Ends with 0 where `/readyz` answers 200. The images hold no curl.
"""

import http.client
import os
import sys

TIMEOUT = 4  # seconds; Docker's own is 5


def main(variable: str, default: str) -> int:
    """The exit code; raises OSError where nothing listens on the port."""
    port = int(os.environ.get(variable) or default)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    sys.stdout.write(f"{response.status} {response.read(500).decode(errors='replace')}\n")
    return 0 if response.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

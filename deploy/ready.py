"""A container's HEALTHCHECK: is its process ready? `ready.py VARIABLE DEFAULT` names the port.

Ends with 0 where `/readyz` answers 200. The images hold no curl, and Python's own HTTP client takes
longer to import than all of this to run; it runs every few seconds in each container.
"""

import os
import socket
import sys

TIMEOUT = 4  # seconds; Docker's own is 5
REQUEST = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n"
MOST = 2000  # bytes of an answer


def main(variable: str, default: str) -> int:
    """The exit code; raises OSError where nothing listens on the port."""
    port = int(os.environ.get(variable) or default)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.sendall(REQUEST)
        answer = connection.makefile("rb").read(MOST).decode(errors="replace")
    sys.stdout.write(answer)
    return 0 if answer.split()[1:2] == ["200"] else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

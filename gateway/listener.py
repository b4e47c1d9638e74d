"""The gateway's own listening socket.

Granian would make one with SO_REUSEPORT, on which a second process starts without an error and
takes a share of the connections. This one is alone on its port.
"""

import contextlib
import ctypes
import socket
import struct
from typing import Final

BACKLOG: Final = 1024
# From <linux/socket.h>; Python has no name for it.
SO_ATTACH_FILTER: Final = 26
# Classic BPF over the TCP header: drop what has SYN without ACK, accept the rest.
DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # accept
)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; OSError where the port is in use. Port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # Connections inherit it. An answer is written in two pieces, and without it the second waits
    # 40 ms for the client to acknowledge the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def refuse_newcomers(listening: socket.socket) -> None:
    """Let no more connections begin, while those that have begun can still be accepted.

    Closing a listening socket resets every connection that waits in its queue, and those clients
    lose a request. So their SYN is ignored first; a client sends it again after a second, and
    when the socket is closed by then, it is refused, and goes elsewhere. Elsewhere than on Linux
    this does nothing, and the queue is lost.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in DROP_SYN))
    filter_ = struct.pack("HP", len(DROP_SYN), ctypes.addressof(program))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)

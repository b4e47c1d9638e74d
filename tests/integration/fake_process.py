"""A process that stands for one of the mesh: it says that it is ready over HTTP, or it dies.

    python fake_process.py serve PORT     answer `/readyz` until it is told to stop
    python fake_process.py ignore PORT    the same, but it can't be told to stop
    python fake_process.py die PORT       die at once, with a last word

Each first says what MESH_WORD is in its environment.
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Ready(BaseHTTPRequestHandler):
    """Answers 200 to every GET."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


sys.stdout.write(f"MESH_WORD: {os.environ.get('MESH_WORD')}\n")
sys.stdout.flush()
_, how, port = sys.argv
if how == "die":
    sys.exit("the model is broken")
if how == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ThreadingHTTPServer(("127.0.0.1", int(port)), Ready).serve_forever()

"""Says what it finds, as a line of JSON, and ends as its argument says.

status: with 3    words: with a last word    error: by an error    serve: only when told to stop
share: as serve, and another process may write to its log as well
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from mesh.telemetry import configure_logging
from tests.integration.loaded_ahead import LOADED_BY

if __name__ == "__main__":
    found = {
        "forked": os.getpid() != LOADED_BY,
        "arguments": sys.argv[1:],
        "word": os.environ.get("MESH_WORD"),
        "handled": [n for n in signal.valid_signals() if callable(signal.getsignal(n))],
        "title": Path("/proc/self/cmdline").read_text().replace("\0", " ").strip(),
        "open": sorted(map(int, os.listdir("/proc/self/fd"))),
    }
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()
    match sys.argv[1]:
        case "status":
            sys.exit(3)
        case "words":
            sys.exit("the model is broken")
        case "error":
            configure_logging("fake", "info")
            raise LookupError("there is no model")
        case "serve":
            signal.pause()
        case "share":
            subprocess.Popen(["sleep", "60"])
            signal.pause()

"""How long the processes of a mesh may take to stop."""

import math
from typing import Final

from mesh.settings import NodeSettings, load

# Seconds to end in, beyond what the settings grant, before a process is killed. The gateway takes
# ten itself before it kills its worker, and a node two for its probes.
STOP_GRACE: Final = 15


class _Settings(NodeSettings, env_ignore_empty=True):
    """The processes' own, except that `sensemesh up` takes an empty variable for none."""


def stop_seconds() -> int:
    """How long any process may take to stop, by the settings of the environment.

    A node drains for MESH_DRAIN, and the gateway until its longest request is answered. Killed
    before that, a process would drop what it took in. SystemExit where a setting can't be used.
    """
    settings = load(_Settings)
    longest = settings.drain_delay + max(settings.drain, settings.timeout_max)
    return math.ceil(longest) + STOP_GRACE

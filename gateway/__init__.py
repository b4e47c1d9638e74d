"""The gateway: HTTP in, the encoders and fusion behind it, a class out."""

import os

# Granian's allocator reads this when it is loaded, so it stands before all imports; nothing else
# reads that name. Of itself it keeps what bodies leave behind for ten seconds, for each of its
# threads by itself: 20 MiB under load that nobody uses.
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0")

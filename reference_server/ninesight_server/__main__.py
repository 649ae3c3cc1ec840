"""`python -m ninesight_server`: the reference server without the suite's command line."""

from __future__ import annotations

import sys

from ninesight_server.cli import serve_main

sys.exit(serve_main(sys.argv[1:]))

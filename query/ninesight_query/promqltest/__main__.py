"""`python -m ninesight_query.promqltest PATH...`."""

import sys

from ninesight_query.promqltest.command import main

sys.exit(main())

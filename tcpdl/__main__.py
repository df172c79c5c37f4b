"""`python -m tcpdl`: the command line. May import `tcpdl.cli`."""

import sys

from tcpdl.cli import main

sys.exit(main())

"""``python jobs/sweep.py ...`` is ``specray sweep ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))

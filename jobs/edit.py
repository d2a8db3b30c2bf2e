"""``python jobs/edit.py ...`` is ``specray edit ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["edit", *sys.argv[1:]]))

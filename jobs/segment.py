"""``python jobs/segment.py ...`` is ``specray segment ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["segment", *sys.argv[1:]]))

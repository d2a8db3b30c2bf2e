"""``python jobs/label.py ...`` is ``specray label ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["label", *sys.argv[1:]]))

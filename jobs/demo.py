"""``python jobs/demo.py ...`` is ``specray demo ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))

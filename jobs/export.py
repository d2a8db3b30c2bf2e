"""``python jobs/export.py ...`` is ``specray export ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))

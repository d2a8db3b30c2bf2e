"""``python jobs/report.py ...`` is ``specray report ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))

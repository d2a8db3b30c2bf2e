"""``python jobs/train-primaps.py ...`` is ``specray train-primaps ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-primaps", *sys.argv[1:]]))

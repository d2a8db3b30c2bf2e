"""``python jobs/benchmark.py ...`` is ``specray benchmark ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))

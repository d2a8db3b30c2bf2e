"""``python jobs/pipeline.py ...`` is ``specray run ...``, the whole road; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))

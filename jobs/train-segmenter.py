"""``python jobs/train-segmenter.py ...`` is ``specray train-segmenter ...``; see ``--help``."""

import sys

from specray.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-segmenter", *sys.argv[1:]]))

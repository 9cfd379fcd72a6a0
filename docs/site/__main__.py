"""``python -m docs.site site|student|slides``."""

import sys

from docs.site import build

if __name__ == "__main__":
    build.main(sys.argv[1:])

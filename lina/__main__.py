"""``python -m lina`` is ``lina``."""

from lina.cli import main

if __name__ == "__main__":
    main()

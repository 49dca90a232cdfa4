"""The command `pcapeda`, also as `python -m pcapeda`."""

from pcapeda.cli import main

if __name__ == "__main__":
    main()

"""Run the command line as `python -m embtool`."""

from embtool.cli import main

if __name__ == "__main__":
    main()

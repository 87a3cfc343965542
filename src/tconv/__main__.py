"""`python -m tconv`: the command where its script is not on the path."""

from tconv.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

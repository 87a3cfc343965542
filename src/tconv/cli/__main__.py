"""`python -m tconv.cli`: the command where its script is not on the path."""

from tconv.cli import main

raise SystemExit(main())

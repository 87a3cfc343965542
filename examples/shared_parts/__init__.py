"""Parts of every example that trains: its options, its runs, the packages it fetches, the page of its results."""

"""Files: readers and writers of pictures and arrays, and output files that are never half-written."""

"""A corpus of damaged and hostile files against every reader; `python tests/fuzzing` runs it and prints a table."""

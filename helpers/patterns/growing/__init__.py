"""Patterns that are new in files that are still written."""

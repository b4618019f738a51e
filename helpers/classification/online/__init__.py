"""Scores, rates and delay while patterns are still written."""

"""Scores of patterns while they are written, with rates, delay and backlog."""

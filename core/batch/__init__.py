"""Scores of many clips: a table in, a table out, on one machine or on a cluster."""

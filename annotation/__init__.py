"""The listening test: clips, raters, batches, ratings, screening.

This package knows `core`'s data contract and no web page. Its modules come with the listening test itself.
"""

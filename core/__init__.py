"""The judge: a clip and its prompt in, two mean opinion scores out; and how it is trained and measured.

This package knows no database and no web page, and imports nothing from ``annotation`` or ``webapp``.
"""

__version__ = "0.1.0"

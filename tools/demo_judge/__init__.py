"""Demo material: a composer, a simulated panel, and the small judge that they train.

All of it is simulated, and says so wherever it is shown.
"""

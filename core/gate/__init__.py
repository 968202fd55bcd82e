"""A gate for generators: scores and signal of the clips of systems, held against conditions."""

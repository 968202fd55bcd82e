"""The official CLAP: fetched, verified, loaded as tensors only."""

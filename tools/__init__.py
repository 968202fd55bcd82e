"""What builds the embedded judge and measures speed. Nobody needs it to run the product."""

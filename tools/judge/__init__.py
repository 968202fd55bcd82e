"""What builds the embedded judge: material, then training. Nobody needs it to run the product."""

"""A catalogue of what embedding and rerank servers do, and who survives it."""

"""Two RAG applications that answer on while the servers behind them are killed: ``make demo``."""

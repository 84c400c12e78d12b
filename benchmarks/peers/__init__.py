"""What people use otherwise, each imported only if it is installed."""

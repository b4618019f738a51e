"""Published files: addresses, resumed downloads, checks."""

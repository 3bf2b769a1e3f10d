"""Which runs are wanted, which of them can run here, which files they leave and why they failed."""

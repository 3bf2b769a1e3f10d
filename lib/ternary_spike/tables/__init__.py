"""From the small files of all runs to tables, and what these decide."""

"""One file per row of the table in docs/reliability.md."""

"""Open files as data sees them: striped, reopened after a loss, opened late, or with two handles."""

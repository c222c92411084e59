"""Pure structures below reading and writing: chunks, dirty extents, read-ahead, pending attributes."""

"""Reads, writes and other requests of an open file: in pieces, in their order, sent again after a loss."""

"""Texts made from the tables: help, manual pages, completion."""

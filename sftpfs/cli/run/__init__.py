"""The commands of the table, a module each, loaded when its command is given."""

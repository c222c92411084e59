"""The table of open files: their handles, how many there may be, and which version each has."""

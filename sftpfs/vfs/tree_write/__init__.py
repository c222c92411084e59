"""Makes the directories, files and links of a tree that the mount itself is handed, many at once."""

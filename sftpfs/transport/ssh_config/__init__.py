"""ssh_config(5): its files, its words, and the keywords that hold for one host."""

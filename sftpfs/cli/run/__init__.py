"""What the commands of the table do: a module each, loaded when its command is given."""

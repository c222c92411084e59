"""Writing one file: absorbed, sent, settled; what failed, who is told of it, and which bytes are lost."""

"""Single requests, worded so that any server takes them: if one way is refused, another is used."""

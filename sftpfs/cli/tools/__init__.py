"""What commands share: asking mounts, sizes and times as text, progress."""

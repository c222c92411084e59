"""The composition root of one mount, what it keeps of lost data, and the progress it shows at its end."""

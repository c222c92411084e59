"""The requests of one session that are not answered yet: their kinds, their order, their deadline."""

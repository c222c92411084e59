"""Operations by path: opening, listing, renaming, attributes, copies. Repeated after a lost session."""

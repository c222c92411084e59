"""One test for every marked sentence of SEMANTICS.md, here or where ``elsewhere`` says."""

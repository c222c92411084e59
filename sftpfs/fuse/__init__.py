"""The kernel's side: decodes FUSE requests, calls vfs, encodes the answer. Only importer of pyfuse3."""

"""The digest of this release; written by `make generate`."""

DIGEST = "1a33e22b35c4a3aaf3f7a9ee291fb644c1686f39fc19ce5017450c678d6f2599"

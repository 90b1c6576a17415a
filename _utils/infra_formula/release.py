"""The digest of this release; written by `make generate`."""

DIGEST = "fdbef15bd51ee636eb840bade1e1712992ecb427c3586fd2897780110f7f0687"

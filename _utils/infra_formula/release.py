"""The digest of this release; written by `make generate`."""

DIGEST = "984e1a92f8fd251cb23535866561809c68948373dcbfefafc24233559a1509cc"

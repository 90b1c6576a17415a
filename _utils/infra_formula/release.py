"""The digest of this release; written by `make generate`."""

DIGEST = "4037f80d4bdef533e7f4556b3e2fca978f9851f34a2f9204f7e9e5b380dfa51b"

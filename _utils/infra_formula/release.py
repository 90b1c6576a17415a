"""The digest of this release; written by `make generate`."""

DIGEST = "fe0beb5064fea7ff4cb050bb61b0aab52edbbb40638a0327194f5041ba03e62b"

"""The digest of this release; written by `make generate`."""

DIGEST = "27f266ef73818573a4177933ee57f443835af449fdfdcbf5bc35eae6cc5faf8b"

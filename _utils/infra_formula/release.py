"""The digest of this release; written by `make generate`."""

DIGEST = "c82bb8cf48dea49c81f01ab0efb671020b1dd171c9e23f554bcf071c33d17c5f"

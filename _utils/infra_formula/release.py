"""The digest of this release; written by `make generate`."""

DIGEST = "ceaf2e7e88aa47af2d945f7a5f0c78102198ff37ebcea758b2d66c673578bde9"

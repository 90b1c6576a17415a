"""The digest of this release; written by `make generate`."""

DIGEST = "83f68c72963c64ebee79a194ff0d32458f0024462929d6f78f6b777f287e7caa"

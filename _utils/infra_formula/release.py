"""The digest of this release; written by `make generate`."""

DIGEST = "5d4d9715badd7c84f653efce98d6c9791cbaf1ad411b32ced9ed102f03a0e56e"

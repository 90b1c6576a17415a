"""The digest of this release; written by `make generate`."""

DIGEST = "8d40fd8292b8d45523e0ddc4338da2ddc40e006c1f0b223d452acae1eeac3781"

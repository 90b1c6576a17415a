"""The digest of this release; written by `make generate`."""

DIGEST = "047c2c16ed9a7843c4743a27a5f4f9cb7d9f5734b5a204991bf43b839fb5bbcf"

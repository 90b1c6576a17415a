"""The digest of this release; written by `make generate`."""

DIGEST = "3470a110353f98bc4a6f0b1b26653e970f9e2a9199504c0b0329af216b7e2839"

"""The digest of this release; written by `make generate`."""

DIGEST = "b8eee601b873f4f23e6af763ccd21be7235c0eedd91fa6e40a5d0cfe8d974726"

"""The digest of this release; written by `make generate`."""

DIGEST = "64a6bf8b51df5d0073ac32a531de448a08d3fc0751c662eedef77a7c9c26bba3"

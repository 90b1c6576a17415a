"""The digest of this release; written by `make generate`."""

DIGEST = "dad0fa230178a5d26c38653ec85a812e92838c2929b46aa1679930a1845ccd3b"

"""The digest of this release; written by `make generate`."""

DIGEST = "af8bc11481c26bd11159a172f49ccc9f3aaceed618434142454b4f5e782a4e38"

"""The digest of this release; written by `make generate`."""

DIGEST = "69afb4faa50193ba4eaddbb120ec5649b4da5eac8fa7427754b8ecb1434312ff"

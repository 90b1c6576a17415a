"""The digest of this release; written by `make generate`."""

DIGEST = "ed516a1a7616f11d1c8f3b9dd2432bd054ee9e423a07fbf01dad8a6268a5082f"

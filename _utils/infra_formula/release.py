"""The digest of this release; written by `make generate`."""

DIGEST = "4533d6f1089aad5162f01da4e8af6efca3b56e047eb11902c4ab55e7709d699a"

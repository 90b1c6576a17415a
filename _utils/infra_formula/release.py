"""The digest of this release; written by `make generate`."""

DIGEST = "fffbcaa7b26e86ba1187ea82933349b4e363a12a76bbf1ef795b0d77bc783870"

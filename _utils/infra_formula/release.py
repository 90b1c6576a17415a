"""The digest of this release; written by `make generate`."""

DIGEST = "03e60d5127cee1b2f7014c911acb559e32901bf6eca7df4801e387b715990558"

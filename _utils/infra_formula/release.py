"""The digest of this release; written by `make generate`."""

DIGEST = "85fd0cb74f57d5b371b0b0ebed000690f1507db815e84ef5282ae93a3e760d64"

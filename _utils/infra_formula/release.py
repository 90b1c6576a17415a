"""The digest of this release; written by `make generate`."""

DIGEST = "485c1ccf895b7177382c5e2e84303beddb97cdb5c64cc5e5914b52ccde1f9418"

"""The digest of this release; written by `make generate`."""

DIGEST = "5fe44b00c3c9e759eef5b8d643a4568f8ce59d508fe6059e216e80f9f96434ee"

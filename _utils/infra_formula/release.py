"""The digest of this release; written by `make generate`."""

DIGEST = "85a270c9ae4d81044ac358b83ae142bd75860594ef157270a794c79c8bb3c86f"

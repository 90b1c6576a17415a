"""The digest of this release; written by `make generate`."""

DIGEST = "ae7d242ac847ea16b6532386a91117ee5972f2634dbd053f44b87a2614e26c41"

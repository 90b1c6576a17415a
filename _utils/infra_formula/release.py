"""The digest of this release; written by `make generate`."""

DIGEST = "23b1761de5e5be9967a90f4254c4a85ac3126739b21dde49d523dd5413383a25"

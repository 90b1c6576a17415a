"""The digest of this release; written by `make generate`."""

DIGEST = "18bd6f292f164b8371b6209e76d8e67a258a2164891f417390cac8c24ed37ff0"

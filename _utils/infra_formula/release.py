"""The digest of this release; written by `make generate`."""

DIGEST = "674036f5d078256fcd2f94ca7c9542828eb574aa223a776e0786db1bb1a28009"

"""The digest of this release; written by `make generate`."""

DIGEST = "124ac462c7c6983ea84a48d8cc1528300d2828d513f10792aa36df967111b7bb"

"""The connections of one mount: which exist, when one is lost or stalls, when one more helps."""

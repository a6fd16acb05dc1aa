"""When a Kubernetes object does its work, and why one does not: judgments over plain dictionaries."""

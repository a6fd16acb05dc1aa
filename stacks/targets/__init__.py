"""The targets: each turns workloads into Pulumi resources."""

"""Infrastructure as code for a CRM platform: stack file → plan → files → workloads → target."""

"""The whole stack on a machine: in containers, or as local processes where there is no container engine."""

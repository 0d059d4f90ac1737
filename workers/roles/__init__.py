"""Process roles: what each builds and runs."""

"""Parts of a source's specification, and how they are stored; the types only, on the standard library."""

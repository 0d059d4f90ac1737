"""Other programs that keep an index of documents, beside Freshet; each in an environment of its own."""

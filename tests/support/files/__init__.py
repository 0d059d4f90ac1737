"""Files of each format, made when they are asked for, with the words that a reader of each would read."""

"""Dead letters go to their topic, and come back when they are redriven."""

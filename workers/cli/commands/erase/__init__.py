"""`freshet erase | erasures | purge`: what goes by order, with its receipt and its end, and what goes by retention."""

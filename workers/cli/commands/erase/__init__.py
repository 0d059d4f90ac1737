"""`freshet erase | erasures`: an order to forget documents, its receipt, and the end of it."""

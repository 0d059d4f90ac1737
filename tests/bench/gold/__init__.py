"""How much of the main text of a page is kept, and how much else: Freshet beside the extractors people use."""

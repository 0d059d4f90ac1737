"""What a person wants forgotten → nothing, in every store that Freshet holds, and a receipt."""

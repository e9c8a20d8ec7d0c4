"""What a person writes: cards as frozen data, and the loader that turns files into them."""

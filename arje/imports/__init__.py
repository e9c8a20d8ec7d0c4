"""The way in from other tools: their service definitions to cards, and what of them was kept, approximated or dropped."""

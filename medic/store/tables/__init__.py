"""What stands in the tables: who writes them, who reads them."""

"""The ledger of claims, by its sections, through the public functions of the package."""

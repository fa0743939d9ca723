"""The ledger of claims on very deep networks, through the public functions of the package."""

"""The ledger of claims on the turnpike, by its sections, through the public functions of the
package.
"""

"""The ledger of claims on Liu and Markowich, by its sections, through the public functions of the
package.
"""

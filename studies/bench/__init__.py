"""The workbench of studies: registry, sweep, store, report, verification of claims."""

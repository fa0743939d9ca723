"""Laws that train weights in a time known before the run."""

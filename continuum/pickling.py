"""What pickle asks of functions: that they can be found by their name."""

import pickle


def check_importable(what: str, function: object) -> None:
    """Raises TypeError, saying what `function` is for, if pickle cannot find it by its name."""
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"{what} cannot be pickled: it is {name}, and pickle keeps the name of a function, not "
            f"its code.  Define it by def at the top of a module, instead of a lambda or inside "
            f"another function"
        ) from error

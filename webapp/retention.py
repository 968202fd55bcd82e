"""How long a server keeps what visitors gave it: a day, or `MUSICEVAL_KEPT_DAYS`; set once, when a process begins."""

DAY_S = 86_400.0
_kept = {"days": 1.0}


def begin(days: float) -> None:
    """Keep uploads and results for so many days from now on."""
    _kept["days"] = days


def kept_s() -> float:
    """Return for how many seconds they are kept."""
    return _kept["days"] * DAY_S


def kept_for() -> str:
    """Return it in words, as they stand after "for"."""
    days = _kept["days"]
    if days == 1:
        return "a day"
    return f"{days:g} days" if days > 1 else f"{days * 24:g} hours"

"""The expressions that panels repeat. `where` is more label matchers, such as `phase="run"`."""

SPAN = "[$__rate_interval]"


def chosen(series: str, where: str = "") -> str:
    """Return a series of the workers that the dashboard's variables pick."""
    return f"{series}{{*,{where}}}" if where else f"{series}{{*}}"


def rate(counter: str, *by: str, where: str = "") -> str:
    """Return events per second, summed by labels."""
    return f"sum by ({', '.join(by)}) (rate({chosen(counter, where)}{SPAN}))"


def per_minute(counter: str, *by: str, where: str = "") -> str:
    """Return events per minute, summed by labels."""
    return f"60 * {rate(counter, *by, where=where)}"


def hourly(counter: str, *by: str, where: str = "") -> str:
    """Return the events of the last hour, summed by labels."""
    return f"sum by ({', '.join(by)}) (increase({chosen(counter, where)}[1h]))"


def mean(histogram: str, *by: str, where: str = "") -> str:
    """Return a histogram's mean by labels."""
    total = rate(f"{histogram}_sum", *by, where=where)
    return f"{total} / {rate(f'{histogram}_count', *by, where=where)}"


def quantile(share: float, histogram: str, *by: str, where: str = "") -> str:
    """Return the value below which a share of a histogram lies, by labels."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', 'le', *by, where=where)})"


def greatest(gauge: str, *by: str, where: str = "") -> str:
    """Return the greatest of what the workers show, by labels."""
    return f"max by ({', '.join(by)}) ({chosen(gauge, where)})"


def total(gauge: str, *by: str, where: str = "") -> str:
    """Return the sum of what the workers show, by labels."""
    return f"sum by ({', '.join(by)}) ({chosen(gauge, where)})"

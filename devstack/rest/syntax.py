"""PostgREST's query language as plain text: lists, quotes and brackets; pure."""

_OPENING, _CLOSING = "({", ")}"


def split(text: str, separator: str = ",") -> list[str]:
    """Split at a separator that stands outside quotes and brackets."""
    parts: list[str] = []
    start, depth, quoted, index = 0, 0, False, 0
    while index < len(text):
        letter = text[index]
        if quoted and letter == "\\":
            index += 1
        elif letter == '"':
            quoted = not quoted
        elif not quoted:
            depth += (letter in _OPENING) - (letter in _CLOSING)
            if letter == separator and depth == 0:
                parts.append(text[start:index])
                start = index + 1
        index += 1
    return [*parts, text[start:]]


def unquote(text: str) -> str:
    """Remove the double quotes around a name or value, if it has them."""
    if len(text) < 2 or not (text[0] == text[-1] == '"'):  # noqa: PLR2004 - a pair of quotes
        return text
    letters = iter(text[1:-1])
    return "".join(next(letters, "") if letter == "\\" else letter for letter in letters)


def inside(text: str) -> str | None:
    """Return what stands between a text's outer round brackets, None without them."""
    text = text.strip()
    return text[1:-1] if text.startswith("(") and text.endswith(")") else None


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'

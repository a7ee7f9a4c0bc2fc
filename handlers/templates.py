"""Chat templates that add nothing: the rendered prompt holds the given messages and no others.

Templates of many models insert a system message of their own where none is given (Qwen2.5: "You
are Qwen, created by Alibaba Cloud…"). The worker promises that it never does. Each template is
therefore probed when the model is loaded:

1. It adds nothing and drops nothing: used as it is.
2. It adds something that stands in its source as a text: that text is taken out.
3. It marks messages as ChatML does: the plain ChatML template takes its place.
4. Otherwise the model is refused.

What 2 and 3 yield is used only if it adds nothing either and renders conversations that do have a
system message exactly as the original does. A template may still do otherwise with other messages:
`faithful` proves each prompt again. Pure: how a template is rendered is an argument.
"""

import re
from collections.abc import Callable, Iterator, Sequence

Conversation = Sequence[dict[str, str]]
Render = Callable[[str, Conversation], str]
"""Renders a template's source with the prompt for the next answer; raises what it likes."""

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)

_SYSTEM = {"role": "system", "content": "qzsystemqz"}
_USER = {"role": "user", "content": "qzuserqz"}
_REPLY = {"role": "assistant", "content": "qzreplyqz"}
_AGAIN = {"role": "user", "content": "qzagainqz"}
_PROBES: Sequence[Conversation] = ([_USER], [_USER, _REPLY, _AGAIN])

_MARKS = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]+\]|qz[a-z]+qz")
_ROLE = re.compile(r"^\s*(?:system|user|assistant|model)\b", re.IGNORECASE)
_MARK_IN_WORDS = re.compile(r"#+ ?[^\W\d_]+(?: [^\W\d_]+)?:?|[^\W\d_]+(?: [^\W\d_]+)?:")
"""Such as "### Instruction:" or "USER:"; a message isn't so short, or ends otherwise."""
_SAYS_SOMETHING = re.compile(r"[^\W_]")
_LITERAL = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)


class TemplateRefusedError(Exception):
    """The template adds or drops words, and that can't be mended; the message says what."""


def neutral_template(template: str, render: Render) -> str:
    """Return a template that renders as the given one does and adds nothing."""
    try:
        added = added_words(template, render)
    except Exception as error:
        raise TemplateRefusedError(f"its chat template can't be rendered: {error}") from error
    if not added and (role := _dropped(template, render)) is not None:
        raise TemplateRefusedError(f"its chat template drops or changes {role} messages")
    if not added:
        return template
    for candidate in (_without(template, added), CHATML):
        if _is_faithful(candidate, template, render) and not added_words(candidate, render):
            return candidate
    raise TemplateRefusedError(
        f"its chat template adds {added[0]!r} to every conversation, which can't be taken out: "
        "give the option chat_template one that doesn't"
    )


def added_words(template: str, render: Render) -> list[str]:
    """Return the texts that a template adds to conversations; empty if there are none."""
    added: list[str] = []
    for probe in _PROBES:
        bare = render(template, probe)
        added += words_beside_marks(bare)
        # One that refuses system messages says so when it is given one.
        opened = _rendered(template, [_SYSTEM, *probe], render)
        if opened is not None and _SYSTEM["content"] in opened:
            added += words_beside_marks(opened)
            if not added and not _is_without_one_part(bare, opened, _SYSTEM["content"]):
                added.append(bare)
    return list(dict.fromkeys(added))


def missing_content(rendered: str, conversation: Conversation) -> str | None:
    """Return the role of the first message that a template has dropped or changed, if any.

    Blanks at both ends don't count: many templates trim them. A system message may stand anywhere,
    since some models have it in the last user message.
    """
    start = 0
    for message in conversation:
        content = message["content"].strip()
        is_system = message["role"] == "system"
        found = rendered.find(content, 0 if is_system else start)
        if found < 0:
            return message["role"]
        start = start if is_system else found + len(content)
    return None


def words_beside_marks(rendered: str) -> Iterator[str]:
    """Yield each text in a rendered prompt that is neither a mark, nor a role, nor a probe's."""
    for piece in _MARKS.split(rendered):
        words = _ROLE.sub("", piece).strip()
        if _SAYS_SOMETHING.search(words) and not _MARK_IN_WORDS.fullmatch(words):
            yield words


def _dropped(template: str, render: Render) -> str | None:
    """Return the role whose messages don't come through, if any."""
    for probe in _PROBES:
        for conversation in (probe, [_SYSTEM, *probe]):
            rendered = _rendered(template, conversation, render)
            if rendered is not None and (role := missing_content(rendered, conversation)):
                return role
    return None


def _is_without_one_part(bare: str, opened: str, content: str) -> bool:
    """Say whether `bare` is `opened` without one continuous part that holds `content`."""
    cut = len(opened) - len(bare)
    return any(
        opened[:start] + opened[start + cut :] == bare and content in opened[start : start + cut]
        for start in range(len(bare) + 1)
    )


def _without(template: str, added: Sequence[str]) -> str:
    """Return the template's source without the string literals that hold the added texts."""

    def emptied(literal: re.Match[str]) -> str:
        text = literal[0].replace("\\n", "\n").replace("\\'", "'").replace('\\"', '"')
        return "''" if any(words in text for words in added) else literal[0]

    return _LITERAL.sub(emptied, template)


def _is_faithful(candidate: str, template: str, render: Render) -> bool:
    for probe in _PROBES:
        opened = [_SYSTEM, *probe]
        original = _rendered(template, opened, render)
        if original is None or _rendered(candidate, opened, render) != original:
            return False
    return True


def _rendered(template: str, conversation: Conversation, render: Render) -> str | None:
    try:
        return render(template, conversation)
    except Exception:  # noqa: BLE001 -- a template may raise anything: it is a program
        return None

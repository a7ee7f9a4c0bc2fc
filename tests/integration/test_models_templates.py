"""Chat templates are made to add nothing, or are refused: the templates themselves, rendered."""

from collections.abc import Sequence

import pytest

from handlers.templates import (
    CHATML,
    TemplateRefusedError,
    missing_content,
    neutral_template,
)

jinja2 = pytest.importorskip("jinja2", reason="comes with the model libraries")

QWEN = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant") %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""  # noqa: E501 -- as it was published

SMOLLM2 = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""  # noqa: E501 -- as it was published

# Text outside of any literal: only the plain template can take its place.
BARE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant."
    "<|im_end|>\n{% endif %}" + CHATML
)

# Always adds dates, and has marks of its own: nothing can be taken out or replaced.
DATED = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n"
    "{% if loop.first %}Cutting knowledge date: December of last year\n{% endif %}"
    "{{ message['content'] | trim }}<|end|>{% endfor %}"
)

INSTRUCTIONS = (
    "{% for message in messages %}{% if message['role'] == 'system' %}<<SYS>>\n"
    "{{ message['content'] }}\n<</SYS>>\n\n{% elif message['role'] == 'user' %}[INST] "
    "{{ message['content'] }} [/INST]{% else %} {{ message['content'] }} </s>{% endif %}"
    "{% endfor %}"
)

REFUSES_SYSTEM = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ raise_exception('no system messages') }}{% endif %}<start_of_turn>{{ message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)

USER = {"role": "user", "content": "Hello"}
REPLY = {"role": "assistant", "content": "Hi"}
SYSTEM = {"role": "system", "content": "Be kind."}
EMPTY = {"role": "system", "content": ""}


def render(template: str, conversation: Sequence[dict[str, str]]) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)

    def refuse(why: str) -> None:
        raise jinja2.TemplateError(why)

    environment.globals["raise_exception"] = refuse
    compiled = environment.from_string(template)
    return str(compiled.render(messages=conversation, add_generation_prompt=True))


def chatml(*conversation: dict[str, str]) -> str:
    marked = [f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in conversation]
    return "".join(marked) + "<|im_start|>assistant\n"


@pytest.mark.parametrize("template", [QWEN, SMOLLM2, BARE], ids=["qwen", "smollm2", "bare"])
@pytest.mark.parametrize(
    "conversation",
    [[USER], [USER, REPLY, USER], [SYSTEM, USER], [EMPTY, USER], [SYSTEM, USER, REPLY, USER]],
)
def test_a_default_system_message_is_taken_out(
    template: str, conversation: list[dict[str, str]]
) -> None:
    """The prompt is exactly the given messages, with a system message or without one."""
    assert chatml(USER) != render(template, [USER])

    neutral = neutral_template(template, render)

    assert chatml(*conversation) == render(neutral, conversation)


@pytest.mark.parametrize("template", [CHATML, INSTRUCTIONS, REFUSES_SYSTEM])
def test_a_template_that_adds_nothing_is_left_alone(template: str) -> None:
    """Marks in words aren't taken for a system message."""
    assert template == neutral_template(template, render)


def test_what_cannot_be_taken_out_is_refused_with_its_words() -> None:
    """Better no model than one that speaks for the caller."""
    with pytest.raises(TemplateRefusedError, match="Cutting knowledge date"):
        neutral_template(DATED, render)


def test_a_dropped_message_is_noticed() -> None:
    """A template that leaves out a message breaks the promise as well."""
    assert missing_content("<|user|>Hello", [SYSTEM, USER]) == "system"
    assert missing_content(chatml(SYSTEM, USER), [SYSTEM, USER]) is None

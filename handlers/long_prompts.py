"""SDXL's prompts of any length: read piece by piece, and told where something was left out.

CLIP reads 77 tokens, two of them marks, and silently drops the rest. As the field does, a longer
prompt is read in pieces of 75 and the pieces' embeddings are put one after the other; the summary
of the whole ("pooled") is the first piece's. A prompt that fits is encoded by the pipeline itself.
"""

from typing import Any

_MARKS = 2
"""Begin and end of each piece."""


class Reading:
    """How a pipeline's text encoders read one prompt and its negative prompt.

    Args:
        pipeline: whose tokenizers and encoders; used by one run at a time.
        prompt: what shall be seen.
        negative: what shall not; empty: nothing is said; None: there is no guidance.
        pieces: how many pieces of a prompt are read at most.
    """

    def __init__(self, pipeline: Any, prompt: str, negative: str | None, pieces: int) -> None:
        self._pipeline = pipeline
        self._prompt = prompt
        self._negative = negative
        self._encoders = [
            (getattr(pipeline, f"tokenizer{which}"), getattr(pipeline, f"text_encoder{which}"))
            for which in ("", "_2")
        ]
        self._room = self._encoders[0][0].model_max_length - _MARKS
        self._most = pieces * self._room
        self._tokens = self._length(prompt)
        self._longest = max(self._tokens, self._length(negative or ""))

    def notes(self) -> dict[str, Any]:
        """Return what results say of it: the prompt's tokens, and whether any text was cut."""
        return {
            "prompt_tokens": self._tokens,
            "prompt_truncated": self._longest > self._most,
        }

    def encode(self, device: Any) -> tuple[Any, Any, Any, Any]:
        """Return the embeddings of prompt and negative prompt, and then the pooled ones."""
        if self._longest <= self._room:
            whole: tuple[Any, Any, Any, Any] = self._pipeline.encode_prompt(
                prompt=self._prompt,
                # An empty text and none are different things to this pipeline.
                negative_prompt=self._negative or None,
                do_classifier_free_guidance=self._negative is not None,
                device=device,
            )
            return whole
        return self.in_pieces(device)

    def in_pieces(self, device: Any) -> tuple[Any, Any, Any, Any]:
        """Return the same, from pieces; of one piece it is exactly the same."""
        import torch

        pieces = max(1, -(-min(self._longest, self._most) // self._room))
        prompt, pooled = self._read(self._prompt, pieces, device)
        if self._negative is None:
            return prompt, None, pooled, None
        if not self._negative and self._pipeline.config.force_zeros_for_empty_prompt:
            return prompt, torch.zeros_like(prompt), pooled, torch.zeros_like(pooled)
        negative, negative_pooled = self._read(self._negative, pieces, device)
        return prompt, negative, pooled, negative_pooled

    def _read(self, text: str, pieces: int, device: Any) -> tuple[Any, Any]:
        import torch

        found, pooled = [], None
        for tokenizer, encoder in self._encoders:
            ids = torch.tensor(self._pieces(tokenizer, text, pieces), device=device)
            output = encoder(ids, output_hidden_states=True)
            # Side by side what lay one below the other: one long sequence.
            found.append(output.hidden_states[-2].flatten(0, 1).unsqueeze(0))
            pooled = output[0][:1]
        return torch.cat(found, dim=-1).to(encoder.dtype), pooled

    def _pieces(self, tokenizer: Any, text: str, pieces: int) -> list[list[int]]:
        ids = _ids(tokenizer, text)
        rows = []
        for start in range(0, pieces * self._room, self._room):
            piece = ids[start : start + self._room]
            padding = [tokenizer.pad_token_id] * (self._room - len(piece))
            rows.append([tokenizer.bos_token_id, *piece, tokenizer.eos_token_id, *padding])
        return rows

    def _length(self, text: str) -> int:
        return max(len(_ids(tokenizer, text)) for tokenizer, _ in self._encoders)


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids

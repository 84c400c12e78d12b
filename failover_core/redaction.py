"""Taking keys out of text before anyone reads it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

MASK: Final = "***"

# Every repetition is bounded or anchored at the start of a word, so the time is linear.
_NAMED: Final = re.compile(
    r"""
    ( (?<![\w-]) [\w-]{0,40}?
      (?: key | token | secret | password | passwd | authorization | signature | credentials? )
      (?: ["']? [ ]{0,2} [:=]+ | ["'] , ) [ ]{0,2} (?: b(?=["']) )? ["']?
      (?: (?:bearer|basic|token) [ ]+ )?
    )
    [^\s"'&,;()\[\]{}<>]+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_BEARER: Final = re.compile(r"\b(bearer +)[^\s\"'&,;<>]+", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(://)[^/\s@]{1,256}@")
_KEY_SHAPE: Final = re.compile(
    r"""
    (?<!\w)
    (?: (?: sk | pk | rk | pa | hf | gsk | xai | jina | nvapi | ghp | tvly | r8 ) [-_] [\w-]{6,}
      | AIza [\w-]{10,}
      | AKIA [0-9A-Z]{12,}
      | eyJ [\w-]{6,} (?: \. [\w-]+ ){0,2}
      | (?= [A-Za-z_]* [0-9] ) (?= [0-9_]* [A-Za-z] ) [A-Za-z0-9_]{32,}
    )
    """,
    re.VERBOSE,
)


def redact(text: str, *secrets: str, limit: int = 200) -> str:
    """Return the text without keys, cut to a length.

    Removed are the given secrets (also percent-encoded and as ``repr`` shows them), values that
    follow a name such as ``api_key=`` or ``"x-api-key":``, bearer tokens, a URL's user
    information, and words in the shape of a key (``sk-…``, ``hf_…``, ``AIza…``, 32 letters and
    digits in a row).

    Args:
        text: what a server or a library said.
        secrets: keys known to be in use.
        limit: longest result, in characters.
    """
    # Cut at the end only: a cut through a secret would leave a part that nothing recognises.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in (secret, quote(secret, safe=""), repr(secret)[1:-1]):
            text = text.replace(form, MASK)
    text = _NAMED.sub(rf"\g<1>{MASK}", text)
    text = _BEARER.sub(rf"\g<1>{MASK}", text)
    text = _USERINFO.sub(rf"\g<1>{MASK}@", text)
    text = _KEY_SHAPE.sub(MASK, text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"

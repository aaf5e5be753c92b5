"""What came back from an S3 store, read out of the errors of obstore: a status, the store's own code, or no answer.

The library names an outcome by its own categories and drops what tells a clean "lost the race" from "unclear" (409 and
412 are one error to it), so the status is taken from its text. Neighbour: `bucket` decides what each one means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from alchemy.model.text import safe_text
from alchemy.store.objects.settings import ACCOUNT, BUCKET, ENDPOINT, KEY_ID, REGION, SECRET, BucketSettings

_STATUS = re.compile(r" - Server returned non-2xx status code: (\d{3})\b")
_CODE = re.compile(r"<Code>(\w{1,80})</Code>")
_KIND = re.compile(r"\bkind: (Timeout|Connect|Request|Interrupted|Decode)\b")
_NO_ANSWER = {
    "Timeout": "no answer in time",
    "Connect": "no connection",
    "Request": "the connection broke off",
    "Interrupted": "the connection broke off",
    "Decode": "half an answer",
}
_FOREIGN = re.compile(r"invalid path: (?:Error parsing )?(Path .*)", re.DOTALL)
_UNCLEAR = {408, 409, 425, 429}  # besides 5xx: says nothing of the write, or that it may be tried again
_SLOW = {"RequestTimeout", "IncompleteBody"}  # 400, though it was the network


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: none came, or not one of S3; then `kind` may say why. `text` is for people."""

    status: int
    code: str
    kind: str
    text: str

    @property
    def absent(self) -> bool:
        """No such object: said by an S3 store, not by whatever else answers 404."""
        return self.status == 404 and self.code == "NoSuchKey"

    @property
    def final(self) -> bool:
        """Refused for good: nothing was written, and the same request would meet the same answer."""
        if self.status == 501:
            return True
        return 300 <= self.status < 500 and self.status not in _UNCLEAR and self.code not in _SLOW

    def explain(self, asked: BucketSettings) -> tuple[str, str]:
        """Cause and next step, without a secret in either."""
        bucket, where = asked.bucket, asked.host
        if self.code == "NoSuchBucket":
            return f"there is no bucket {bucket!r} at {where}", f"create it, or correct {BUCKET}"
        if self.code in ("InvalidAccessKeyId", "UnrecognizedClientException"):
            return (
                f"{where} does not know the access key",
                f"correct {KEY_ID}: it belongs to another account, or is revoked",
            )
        if self.code == "SignatureDoesNotMatch":
            return f"{where} does not accept the signature", f"correct {SECRET}: it does not belong to {KEY_ID}"
        if self.code == "RequestTimeTooSkewed":
            return f"{where} says that this machine's clock is wrong", "set the clock"
        if self.status in (401, 403):
            right = f"give the token of {KEY_ID} the right to read and write objects of bucket {bucket!r}"
            return f"{where} denies it ({self.text})", f"{right}, or correct {KEY_ID} and {SECRET}"
        if 300 <= self.status < 400 or self.code == "AuthorizationHeaderMalformed":
            return f"{where} sends us elsewhere ({self.text})", f"correct {ENDPOINT} or {REGION}"
        if self.kind == "Connect":
            names = f"{ENDPOINT} or {ACCOUNT}"
            return f"{where} cannot be reached ({self.text})", f"look at the network, the proxy, and {names}"
        if self.kind == "Foreign":
            advice = (
                "delete it if nobody needs it, or give the state a place of its own: state_prefix in [tool.alchemy]"
            )
            return f"among the objects is one that is not ours ({self.text})", advice
        if self.status == 404 or (self.status == 0 and not self.kind):
            return f"{where} does not answer as S3 does ({self.text})", f"correct {ENDPOINT}"
        if self.final:
            return f"{where} refuses ({self.text})", f"see what {where} says about {self.code or self.status}"
        return f"{where} fails ({self.text})", "try again; see the service's status page if it lasts"


class Refusal(Exception):
    """Anything but success; the library's error is its cause."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


def read(error: Exception) -> Answer:
    """The library's text is its message, then the answer's body, then its own structures."""
    said, _, structures = str(error).partition("\n\nDebug source:")
    status = _STATUS.search(said)
    if status is not None:
        code = _CODE.search(said, status.end())
        name = code[1] if code else ""
        return Answer(int(status[1]), name, "", f"{status[1]} {name}".rstrip())
    if "Received redirect without LOCATION" in said:  # another region's, says S3 so
        return Answer(301, "", "", "301")
    foreign = _FOREIGN.search(said)
    if foreign is not None:
        return Answer(0, "", "Foreign", safe_text(foreign[1], 200))
    kinds = _KIND.findall(structures)
    if kinds:
        return Answer(0, "", kinds[0], _NO_ANSWER[kinds[0]])
    return Answer(0, "", "", safe_text(said.rpartition(" - ")[2] or type(error).__name__, 200))

"""What can go wrong between us and Cloudflare, as errors keyed by (service, code), with the next step for people.

Codes are per product: 10013 is a namespace in KV and a Worker in Workers. Neighbours: `client` raises these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alchemy.errors import AlchemyError, CloudError, UsageError
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    import httpx

_LONGEST_WAIT = 300.0  # seconds; an account that is over its limit is refused for five minutes
_SECRET_FROM = 16  # characters: the local cloud's "token" is an English word and may stay

GONE = {
    ("d1", 7404),
    ("kv", 10013),
    ("r2", 10006),
    ("queues", 11000),
    ("workers", 10007),
    ("workers", 10013),
    ("workers", 10090),
}
TAKEN = {("d1", 7502), ("kv", 10014), ("r2", 10004), ("queues", 11009)}
_NO_ROUTE, _BAD_IDENTIFIER = 7000, 7003
_CREDENTIALS = {1000, 6003, 6111, 9103, 9106, 9109, 10000}
_PERMISSIONS = {
    "d1": "D1 Write",
    "kv": "Workers KV Storage Write",
    "r2": "Workers R2 Storage Write",
    "queues": "Queues Write",
    "workers": "Workers Scripts Write",
}
_HINTS = {
    ("d1", 7406): "delete databases that are not needed, or raise the account's limit",
    ("r2", 10042): "enable R2 once in Cloudflare's dashboard",
    ("queues", 11003): "a queue's name is 1 to 63 letters, digits and inner hyphens",
    ("workers", 10021): "mend the module, or bundle it into one file: imports of other files are not uploaded",
    ("workers", 10027): "make the bundle smaller",
    ("workers", 10064): "unbind it there, or delete the queue's consumer, then run again",
}


def is_gone(error: CloudError) -> bool:
    """No such object: by the product's own code, by an identifier that never was one, else by the status."""
    return (error.service, error.code) in GONE or error.code == _BAD_IDENTIFIER or error.status == 404


def is_taken(error: CloudError) -> bool:
    """An object of that name exists already."""
    return (error.service, error.code) in TAKEN


def unusable(service: str, why: str) -> CloudError:
    """An answer that says yes and nothing else: whether it happened is not known."""
    return CloudError(f"{service}: the answer cannot be used: {why}", service=service)


def lost_answer(error: Exception, http: httpx.AsyncClient, service: str) -> AlchemyError:
    """No answer came. What cannot be sent at all is the settings' fault and not worth another try."""
    name = type(error).__name__
    if name in ("InvalidURL", "UnsupportedProtocol"):
        return UsageError(f"the API's address cannot be used: {name}", hint="correct CLOUDFLARE_API_BASE_URL")
    if name == "LocalProtocolError":  # its text quotes the header
        return UsageError(
            "the request cannot be sent: a header is not valid",
            hint="CLOUDFLARE_API_TOKEN must be one line of letters, digits, - and _",
        )
    text = _scrubbed(str(error), http)
    return CloudError(f"no answer from {http.base_url.host}: {name}{': ' + text if text else ''}", service=service)


def read_envelope(response: httpx.Response, service: str, http: httpx.AsyncClient) -> dict[str, Any]:
    """The envelope of a call that went well."""
    status = response.status_code
    envelope = _decoded(response)
    if envelope is None:
        raise _no_envelope(response, service, http)
    if response.is_success and envelope.get("success") is not False and not envelope.get("errors"):
        return envelope
    errors = [entry for entry in envelope.get("errors") or () if isinstance(entry, dict)]
    code = next((entry["code"] for entry in errors if isinstance(entry.get("code"), int)), 0)
    if code == _NO_ROUTE:
        raise _not_the_api(response, "no such route")
    said = _scrubbed("; ".join(_sentence(entry) for entry in errors[:3]), http) or f"HTTP {status} without a reason"
    raise CloudError(
        f"{said} ({service} {code}, HTTP {status})",
        service=service,
        status=status,
        code=code,
        retry_after=asked_wait(response),
        hint=_hint(service, status, code),
    )


def _decoded(response: httpx.Response) -> dict[str, Any] | None:
    """None when the body is no envelope: HTML of a proxy, plain text, another API's JSON."""
    if not response.content and response.is_success:
        return {}  # 204, and some deletes
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    known = isinstance(body, dict) and ("success" in body or "result" in body or "errors" in body)
    return body if known else None


def _no_envelope(response: httpx.Response, service: str, http: httpx.AsyncClient) -> AlchemyError:
    status = response.status_code
    kind = safe_text(response.headers.get("content-type", "no content type").partition(";")[0], 60)
    if status in (408, 413, 425, 429) or status >= 500:
        return CloudError(
            f"{http.base_url.host} answered HTTP {status} ({kind}) instead of the API",
            service=service,
            status=status,
            retry_after=asked_wait(response),
            hint=_hint(service, status, 0),
        )
    # Never a CloudError: a proxy's 404 would read as "the object is gone", and its row would be dropped.
    return _not_the_api(response, f"HTTP {status}, {kind}")


def _not_the_api(response: httpx.Response, why: str) -> UsageError:
    where = safe_text(response.request.url.copy_with(userinfo=b"", query=None), 200)
    return UsageError(
        f"{where} is not Cloudflare's API: {why}",
        hint="correct CLOUDFLARE_API_BASE_URL; behind a proxy, let the API's host through",
    )


def _sentence(error: dict[str, Any]) -> str:
    chain = [entry for entry in error.get("error_chain") or () if isinstance(entry, dict)]
    texts = [str(entry.get("message", "")).strip().rstrip(".") for entry in (error, *chain[:2])]
    return safe_text(": ".join(text for text in texts if text), 300)


def _scrubbed(text: str, http: httpx.AsyncClient) -> str:
    """Without the token: an answer may echo what was sent."""
    token = http.headers.get("authorization", "").partition(" ")[2].strip()
    return safe_text(text.replace(token, "•••") if len(token) >= _SECRET_FROM else text, 600)


def asked_wait(response: httpx.Response) -> float | None:
    """Seconds of Retry-After; a date counts from the answer's own Date, so that no clock is needed here."""
    asked = response.headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return min(float(asked[:6]), _LONGEST_WAIT)
    from email.utils import parsedate_to_datetime  # brings sockets and more: only when it is a date

    try:
        until, now = parsedate_to_datetime(asked), parsedate_to_datetime(response.headers.get("date", ""))
        seconds = (until - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def _hint(service: str, status: int, code: int) -> str:
    if (service, code) in TAKEN:
        return "choose another name, or take it over with adopt=True"
    if (service, code) in _HINTS:
        return _HINTS[service, code]
    if code in _CREDENTIALS or status in (401, 403):
        permission = _PERMISSIONS.get(service, "of the product")
        return f"check CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID: the token needs the permission {permission}"
    if status == 429:
        return "the account is over its rate limit; wait, or lower max_concurrency"
    return ""

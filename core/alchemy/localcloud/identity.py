"""Accounts, user and token: the little that tells a client who it is (what `wrangler whoami` asks).

Neighbours: `account` makes the id; there is exactly one account and one user.
"""

from __future__ import annotations

from typing import Any

from alchemy.localcloud.call import Call, Route
from alchemy.localcloud.envelope import Reply, page_info, success

_INVALID = 1001  # an invalid query parameter of these endpoints
_BORN = "2026-01-01T00:00:00.000000Z"  # the account has no history; a date the schema accepts
EMAIL = "local@example.com"


def _account(call: Call) -> dict[str, Any]:
    settings = {"enforce_twofactor": False}
    return {"id": call.account, "name": "Local cloud", "type": "standard", "settings": settings, "created_on": _BORN}


def _one_page(call: Call, items: list[dict[str, Any]]) -> Reply:
    page = call.query(_INVALID).whole("page", 1, 1, 10**9)
    shown = items if page == 1 else []
    return success(shown, info=page_info(count=len(shown), page=page, per_page=20, total=len(items)))


def list_accounts(call: Call) -> Reply:
    name = call.arguments.get("name")
    account = _account(call)
    return _one_page(call, [account] if name in (None, "", account["name"]) else [])


def get_account(call: Call) -> Reply:
    return success(_account(call))


def list_memberships(call: Call) -> Reply:
    account = _account(call)
    roles = ["Super Administrator - All Privileges"]
    membership = {"id": call.account, "code": "", "status": "accepted", "account": account, "roles": roles}
    return _one_page(call, [{**membership, "permissions": {}}])


def get_user(call: Call) -> Reply:
    organization = {"id": call.account, "name": "Local cloud", "status": "member", "permissions": [], "roles": []}
    return success(
        {
            "id": call.account,
            "email": EMAIL,
            "first_name": None,
            "last_name": None,
            "telephone": None,
            "country": None,
            "zipcode": None,
            "suspended": False,
            "betas": [],
            "organizations": [organization],
            "two_factor_authentication_enabled": False,
            "two_factor_authentication_locked": False,
            "has_business_zones": False,
            "has_enterprise_zones": False,
            "has_pro_zones": False,
        }
    )


def verify_token(call: Call) -> Reply:
    return success({"id": call.account, "status": "active"})


ROUTES = (
    Route("GET", "/accounts", list_accounts),
    Route("GET", "/accounts/{account}", get_account),
    Route("GET", "/accounts/{account}/tokens/verify", verify_token),
    Route("GET", "/memberships", list_memberships),
    Route("GET", "/user", get_user),
    Route("GET", "/user/tokens/verify", verify_token),
)

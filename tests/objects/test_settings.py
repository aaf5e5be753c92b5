from __future__ import annotations

from typing import Any

import pytest

from alchemy.errors import UsageError
from alchemy.store.objects.settings import BucketSettings, bucket_settings, same_spelling

ENVIRONMENT = {
    "R2_ACCESS_KEY_ID": "key",
    "R2_SECRET_ACCESS_KEY": "hidden-secret",
    "R2_BUCKET_NAME": "team-state",
    "R2_ACCOUNT_ID": "0123456789abcdef0123456789abcdef",
}


def read(table: dict[str, Any] | None = None, /, **changed: Any) -> BucketSettings:
    environment = {name: value for name, value in {**ENVIRONMENT, **changed}.items() if value is not None}
    settings = bucket_settings(environment, table or {})
    assert settings is not None
    return settings


def refusal(table: dict[str, Any] | None = None, /, **changed: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(table, **changed)
    assert caught.value.hint
    assert "hidden-secret" not in caught.value.message + caught.value.hint
    return caught.value


def test_r2_needs_four_variables() -> None:
    settings = read()
    assert settings.endpoint == "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"
    assert (settings.bucket, settings.prefix, settings.region) == ("team-state", "", "auto")
    assert (settings.access_key_id, settings.secret_access_key) == ("key", "hidden-secret")
    assert settings.place == "r2://01234567/team-state"
    assert "hidden-secret" not in repr(settings)


def test_without_the_variables_state_is_in_local_files() -> None:
    assert bucket_settings({}, {}) is None
    assert bucket_settings({"CLOUDFLARE_ACCOUNT_ID": "0123", "R2_ENDPOINT": "https://s3.example"}, {}) is None
    assert bucket_settings(dict.fromkeys(ENVIRONMENT, ""), {}) is None


def test_the_project_file_can_insist_on_local_files_even_over_a_broken_environment() -> None:
    assert bucket_settings(ENVIRONMENT, {"state_store": "file"}) is None
    assert bucket_settings({"R2_BUCKET_NAME": "only"}, {"state_store": "file"}) is None


def test_the_project_file_can_insist_on_the_bucket() -> None:
    with pytest.raises(UsageError, match="needs R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY, R2_BUCKET_NAME too") as caught:
        bucket_settings({}, {"state_store": "r2"})
    assert "remove state_store" in caught.value.hint
    assert "'file' or 'r2', not 'S3'" in refusal({"state_store": "S3"}).message


@pytest.mark.parametrize("missing", ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME"])
def test_half_a_configuration_is_never_local_files(missing: str) -> None:
    for empty in (None, "", "  "):
        error = refusal(**{missing: empty})
        assert f"needs {missing} too (" in error.message
        assert 'state_store = "file"' in error.hint
    with pytest.raises(UsageError, match=f"{missing} is set"):
        bucket_settings({missing: "x"}, {})


def test_the_account_is_the_one_of_cloudflare_unless_said_otherwise() -> None:
    assert read(R2_ACCOUNT_ID=None, CLOUDFLARE_ACCOUNT_ID="ABC").endpoint == "https://abc.r2.cloudflarestorage.com"
    assert read(R2_ACCOUNT_ID="abc", CLOUDFLARE_ACCOUNT_ID="def").endpoint == "https://abc.r2.cloudflarestorage.com"
    error = refusal(R2_ACCOUNT_ID=None)
    assert "neither R2_ACCOUNT_ID, CLOUDFLARE_ACCOUNT_ID nor R2_ENDPOINT" in error.message
    assert "is not the id of an account" in refusal(R2_ACCOUNT_ID="evil.example/").message


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("https://s3.example", "https://s3.example"),
        ("https://s3.example/", "https://s3.example"),
        ("https://s3.example:9000/team-state", "https://s3.example:9000"),
        ("s3.example", "https://s3.example"),
        ("http://minio.internal:9000", "http://minio.internal:9000"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("localhost:9000", "http://localhost:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("HTTPS://S3.Example", "https://s3.example"),
    ],
)
def test_an_endpoint_is_any_s3(given: str, endpoint: str) -> None:
    settings = read(R2_ENDPOINT=given, R2_ACCOUNT_ID=None)
    assert settings.endpoint == endpoint
    assert settings.place == f"s3://{endpoint.partition('://')[2]}/team-state"


@pytest.mark.parametrize(
    "given",
    [
        "ftp://s3.example",
        "https://key:hidden-secret@s3.example",
        "https://s3.example/other/path",
        "https://s3.example?x=1",
        "https://s3.example#x",
        "https://",
        "https://s3.example:port",
        "https://s3 .example",
        "https://s3.\u202eexample",
        "http://[::1",
    ],
)
def test_an_endpoint_that_is_none_is_refused_without_repeating_it(given: str) -> None:
    error = refusal(R2_ENDPOINT=given)
    assert error.message == "R2_ENDPOINT is not the address of an S3 service"


def test_the_region_is_that_of_the_endpoint_or_the_one_given() -> None:
    assert read(R2_ENDPOINT="https://s3.eu-central-1.amazonaws.com").region == "eu-central-1"
    assert read(R2_ENDPOINT="https://s3.eu-central-1.amazonaws.com", R2_REGION="x").region == "x"
    assert read(R2_ENDPOINT="https://s3.example", R2_REGION="eu-west").region == "eu-west"


@pytest.mark.parametrize(
    "endpoints",
    [
        ["https://s3.example", "https://s3.example:443/", "S3.example", "https://s3.example.", "https://s3.example/team-state"],
        ["https://s3.eu-west-1.amazonaws.com", "https://s3-eu-west-1.amazonaws.com", "https://s3.amazonaws.com",
         "https://s3.dualstack.eu-west-1.amazonaws.com"],
        ["https://0123456789.r2.cloudflarestorage.com", "https://0123456789.R2.cloudflarestorage.com:443"],
    ],
)  # fmt: skip
def test_a_place_is_one_text_however_it_is_spelled(endpoints: list[str]) -> None:
    places = {
        bucket_settings({**ENVIRONMENT, "R2_ENDPOINT": endpoint}, {"state_prefix": prefix}).place  # type: ignore[union-attr]
        for endpoint in endpoints
        for prefix in ("team/shop", "/team/shop/")
    }
    assert len(places) == 1
    (place,) = places
    assert place.endswith("/team-state/team/shop")
    assert same_spelling(place + "//") == place
    assert same_spelling(place.replace("team-state", "Team-State")) != place, "names of buckets have a case"


def test_buckets_of_one_name_in_two_accounts_jurisdictions_or_services_are_told_apart() -> None:
    hosts = ["0123456789.r2.cloudflarestorage.com", "0123456789.eu.r2.cloudflarestorage.com", "s3.example:9000"]
    places = [read(R2_ENDPOINT=f"https://{host}").place for host in hosts]
    assert places == ["r2://01234567/team-state", "r2://01234567.eu/team-state", "s3://s3.example:9000/team-state"]
    assert read(R2_ACCOUNT_ID="fedcba9876543210fedcba9876543210").place == "r2://fedcba98/team-state"


@pytest.mark.parametrize(
    ("given", "prefix"),
    [("", ""), ("/", ""), ("team", "team/"), ("/team/alpha/", "team/alpha/"), ("A.b_c-1", "A.b_c-1/")],
)
def test_a_prefix_ends_in_a_slash_or_is_empty(given: str, prefix: str) -> None:
    settings = read({"state_prefix": given})
    assert settings.prefix == prefix
    assert settings.place == f"r2://01234567/team-state/{prefix}".rstrip("/")


@pytest.mark.parametrize("given", ["a//b", "..", "a/../b", ".hidden", "a b", "a\nb", "ä", "x" * 257, 7, ["a"]])
def test_a_prefix_that_cannot_begin_a_key_is_refused(given: object) -> None:
    assert "state_prefix" in refusal({"state_prefix": given}).message


@pytest.mark.parametrize("name", ["a", "a/b", "../x", "https://x", "a b", "x" * 64, "-x"])
def test_a_bucket_is_a_name(name: str) -> None:
    assert "R2_BUCKET_NAME" in refusal(R2_BUCKET_NAME=name).message


@pytest.mark.parametrize("value", ["a b", "a\nb", "schlüssel", "a\x7fb"])
@pytest.mark.parametrize("name", ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"])
def test_keys_are_without_spaces_and_their_value_is_not_repeated(name: str, value: str) -> None:
    error = refusal(**{name: value})
    assert error.message == f"{name} holds characters that no key has"


def test_what_a_copy_brings_along_at_the_ends_is_dropped() -> None:
    assert read(R2_SECRET_ACCESS_KEY=" hidden-secret\n").secret_access_key == "hidden-secret"

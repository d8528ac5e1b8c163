# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud Storage as Google answers it: names shared by all projects, and every precondition honoured."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

import rehearsal.services.storage.buckets as buckets
from rehearsal import ahead

API = "https://storage.googleapis.com/storage/v1"
UPLOAD = "https://storage.googleapis.com/upload/storage/v1"

pytestmark = pytest.mark.usefixtures("storage_server")


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.fixture
def bucket(ask: Any) -> str:
    assert (
        ask("POST", f"{API}/b?project=fanops-rehearsal", body(name="models-1", location="us-central1")).status_code
        == 200
    )
    return "models-1"


def put(ask: Any, bucket: str, name: str, data: bytes, query: str = "") -> Any:
    return ask("POST", f"{UPLOAD}/b/{bucket}/o?uploadType=media&name={name}{query}", data)


def test_a_bucket_of_another_project_is_neither_created_nor_read(ask: Any, control_plane: Any) -> None:
    buckets.own_a_bucket_elsewhere(control_plane)
    created = ask("POST", f"{API}/b?project=fanops-rehearsal", body(name=buckets.FOREIGN_BUCKET))
    assert created.status_code == 409 and "not available" in created.get_json()["error"]["message"]
    assert ask("GET", f"{API}/b/{buckets.FOREIGN_BUCKET}").status_code == 403


def test_objects_have_the_time_of_googles_clock_when_they_were_written(
    ask: Any, control_plane: Any, bucket: str
) -> None:
    def written(name: str) -> datetime:
        return datetime.fromisoformat(ask("GET", f"{API}/b/{bucket}/o/{name}").get_json()["updated"])

    put(ask, bucket, "before", b"1")
    known = written("before")
    ahead.move(control_plane.store, 7 * 86_400, with_clock=True)
    put(ask, bucket, "after", b"2")
    assert written("before") == known
    assert timedelta(days=7) <= written("after") - known < timedelta(days=7, minutes=5)


def test_a_bucket_keeps_what_it_was_given_and_is_patched_by_merge(ask: Any, bucket: str) -> None:
    ask("PATCH", f"{API}/b/{bucket}", body(labels={"app": "a", "old": "b"}))
    changed = ask(
        "PATCH", f"{API}/b/{bucket}", body(labels={"old": None}, softDeletePolicy={"retentionDurationSeconds": "0"})
    )
    resource = ask("GET", f"{API}/b/{bucket}").get_json()
    assert changed.get_json() == resource
    assert (resource["labels"], resource["metageneration"]) == ({"app": "a"}, "3")
    assert resource["softDeletePolicy"]["retentionDurationSeconds"] == "0"
    stale = ask("PATCH", f"{API}/b/{bucket}?ifMetagenerationMatch=1", body(labels={}))
    assert stale.status_code == 412


def test_a_retention_that_was_sent_as_a_number_is_answered_as_a_string(
    ask: Any, control_plane: Any, bucket: str
) -> None:
    # google-cloud-storage sends numbers.
    changed = ask("PATCH", f"{API}/b/{bucket}", body(softDeletePolicy={"retentionDurationSeconds": 604800}))
    assert changed.get_json()["softDeletePolicy"]["retentionDurationSeconds"] == "604800"
    policy = {"retentionPolicy": {"retentionPeriod": 60}}
    made = ask("POST", f"{API}/b?project=fanops-rehearsal", body(name="models-2", location="us-east1", **policy))
    assert made.get_json()["retentionPolicy"]["retentionPeriod"] == "60"
    assert [entry.violations for entry in control_plane.log.entries() if entry.violations] == []


@pytest.mark.parametrize("query", ["&ifGenerationMatch=0", "&ifGenerationMatch=12345"])
def test_a_write_whose_precondition_fails_changes_nothing(ask: Any, bucket: str, query: str) -> None:
    assert put(ask, bucket, "current.json", b"one").status_code == 200
    refused = put(ask, bucket, "current.json", b"two", query)
    assert refused.status_code == 412
    (error,) = refused.get_json()["error"]["errors"]
    assert (error["reason"], error["location"], error["locationType"]) == ("conditionNotMet", "If-Match", "header")
    assert ask("GET", f"{API}/b/{bucket}/o/current.json?alt=media").get_data() == b"one"


def test_preconditions_hold_for_delete_read_rewrite_and_compose(ask: Any, bucket: str) -> None:
    generation = put(ask, bucket, "a", b"A").get_json()["generation"]
    put(ask, bucket, "b", b"B")
    stale = "ifGenerationMatch=1"
    assert ask("DELETE", f"{API}/b/{bucket}/o/a?{stale}").status_code == 412
    assert ask("GET", f"{API}/b/{bucket}/o/a?{stale}").status_code == 412
    assert ask("GET", f"{API}/b/{bucket}/o/a?ifGenerationNotMatch={generation}").status_code == 304
    assert ask("POST", f"{API}/b/{bucket}/o/a/rewriteTo/b/{bucket}/o/b?{stale}", b"{}").status_code == 412
    compose = body(sourceObjects=[{"name": "a"}, {"name": "b"}])
    assert ask("POST", f"{API}/b/{bucket}/o/c/compose?ifGenerationMatch=7", compose).status_code == 412
    assert ask("POST", f"{API}/b/{bucket}/o/c/compose?ifGenerationMatch=0", compose).status_code == 200
    assert ask("GET", f"{API}/b/{bucket}/o/c?alt=media").get_data() == b"AB"
    assert ask("DELETE", f"{API}/b/{bucket}/o/a?ifGenerationMatch={generation}").status_code == 204


def test_a_resumable_upload_checks_its_precondition_when_it_ends(ask: Any, bucket: str) -> None:
    begun = ask("POST", f"{UPLOAD}/b/{bucket}/o?uploadType=resumable&name=big&ifGenerationMatch=0", body())
    session = urlsplit(begun.headers["Location"])
    assert session.netloc == "storage.googleapis.com"
    assert put(ask, bucket, "big", b"somebody was faster").status_code == 200
    ended = ask("PUT", begun.headers["Location"], b"x" * 1000, {"Content-Range": "bytes 0-999/1000"})
    assert ended.status_code == 412
    assert ask("GET", f"{API}/b/{bucket}/o/big?alt=media").get_data() == b"somebody was faster"


def test_objects_are_read_by_range_and_listed_by_prefix_in_pages(ask: Any, control_plane: Any, bucket: str) -> None:
    for name in ("a", "b", "runs%2F1"):
        assert put(ask, bucket, name, b"0123").status_code == 200
    token = control_plane.identity.access_token(control_plane.identity.owner)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Range": "bytes=1-2"}
    part = ask("GET", f"{API}/b/{bucket}/o/a?alt=media", headers=headers)
    assert (part.status_code, part.get_data()) == (206, b"12")
    assert [entry.sent for entry in control_plane.log.entries()][-1] == 2

    def listed(query: str) -> tuple[list[str], list[str], str]:
        answer = ask("GET", f"{API}/b/{bucket}/o?{query}").get_json()
        names = [item["name"] for item in answer.get("items", [])]
        return names, answer.get("prefixes", []), answer.get("nextPageToken", "")

    assert listed("delimiter=%2F") == (["a", "b"], ["runs/"], "")
    assert listed("prefix=runs%2F") == (["runs/1"], [], "")
    first, _, token = listed("maxResults=2")
    assert (first, listed(f"maxResults=2&pageToken={token}")) == (["a", "b"], (["runs/1"], [], ""))


def test_a_missing_object_and_a_missing_bucket_say_so_as_google_does(ask: Any, bucket: str) -> None:
    missing = ask("GET", f"{API}/b/{bucket}/o/none%2Fhere").get_json()["error"]
    assert (missing["code"], missing["message"]) == (404, f"No such object: {bucket}/none/here")
    assert (
        ask("GET", f"{API}/b/no-such-bucket").get_json()["error"]["message"] == "The specified bucket does not exist."
    )


def test_what_may_be_done_with_a_bucket_and_where_it_is(ask: Any, bucket: str) -> None:
    policy = ask("GET", f"{API}/b/{bucket}/iam").get_json()
    assert policy["resourceId"] == f"projects/_/buckets/{bucket}"
    asked = "?permissions=storage.objects.get&permissions=iam.serviceAccounts.getAccessToken"
    assert ask("GET", f"{API}/b/{bucket}/iam/testPermissions{asked}").get_json()["permissions"] == [
        "storage.objects.get"
    ]
    assert ask("GET", f"{API}/b/{bucket}/storageLayout").get_json()["location"] == "US-CENTRAL1"
    listed = ask("GET", f"{API}/b?project=fanops-rehearsal").get_json()["items"]
    assert [found["name"] for found in listed] == [bucket]


def test_a_bucket_with_objects_is_not_deleted(ask: Any, bucket: str) -> None:
    put(ask, bucket, "a", b"A")
    assert ask("DELETE", f"{API}/b/{bucket}").status_code == 409
    assert ask("DELETE", f"{API}/b/{bucket}/o/a").status_code == 204
    assert ask("DELETE", f"{API}/b/{bucket}").status_code == 204


def test_a_reader_may_not_write_and_a_creator_may_not_overwrite(ask: Any, control_plane: Any, bucket: str) -> None:
    identity = control_plane.identity
    email = "reader@fanops-rehearsal.iam.gserviceaccount.com"
    identity.accounts.create("fanops-rehearsal", email)
    headers = {"Authorization": "Bearer " + identity.access_token(email)["access_token"]}
    put(ask, bucket, "a", b"A")
    assert ask("GET", f"{API}/b/{bucket}/o/a?alt=media", headers=headers).status_code == 403
    identity.set_policy(
        f"buckets/{bucket}",
        {"bindings": [{"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{email}"]}]},
    )
    assert ask("GET", f"{API}/b/{bucket}/o/a?alt=media", headers=headers).get_data() == b"A"
    assert ask("POST", f"{UPLOAD}/b/{bucket}/o?uploadType=media&name=z", b"Z", headers).status_code == 403
    identity.set_policy(
        f"buckets/{bucket}",
        {"bindings": [{"role": "roles/storage.objectCreator", "members": [f"serviceAccount:{email}"]}]},
    )
    assert ask("POST", f"{UPLOAD}/b/{bucket}/o?uploadType=media&name=z", b"Z", headers).status_code == 200
    assert ask("POST", f"{UPLOAD}/b/{bucket}/o?uploadType=media&name=a", b"Z", headers).status_code == 403


def test_objects_and_their_metadata_survive_a_restart_of_the_storage_server(
    ask: Any, control_plane: Any, bucket: str, storage_server: Any
) -> None:
    parts = (
        b"--cut\r\nContent-Type: application/json\r\n\r\n"
        + body(name="current.json", cacheControl="no-store", metadata={"write-id": "w1"})
        + b"\r\n--cut\r\nContent-Type: application/json\r\n\r\n{}\r\n--cut--\r\n"
    )
    token = control_plane.identity.access_token(control_plane.identity.owner)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "multipart/related; boundary=cut"}
    written = ask("POST", f"{UPLOAD}/b/{bucket}/o?uploadType=multipart&ifGenerationMatch=0", parts, headers)
    assert written.status_code == 200
    before = ask("GET", f"{API}/b/{bucket}/o/current.json").get_json()
    storage_server.restart()
    after = ask("GET", f"{API}/b/{bucket}/o/current.json").get_json()
    kept = ("generation", "metageneration", "cacheControl", "metadata", "crc32c", "contentType")
    assert {name: after.get(name) for name in kept} == {name: before.get(name) for name in kept}
    assert before["cacheControl"] == "no-store"


def test_a_change_of_metadata_keeps_the_generation_and_counts_the_metageneration(
    ask: Any, control_plane: Any, bucket: str
) -> None:
    one = f"{API}/b/{bucket}/o/a.txt"
    made = put(ask, bucket, "a.txt", b"content").get_json()
    for number in ("2", "3"):
        before = int(number) - 1
        changed = ask("PATCH", f"{one}?ifMetagenerationMatch={before}", body(metadata={"times": number}))
        assert changed.status_code == 200
        assert changed.get_json() == ask("GET", one).get_json()
        shown = ask("GET", f"{API}/b/{bucket}/o").get_json()["items"][0]
        for resource in (changed.get_json(), shown):
            assert (resource["generation"], resource["metageneration"]) == (made["generation"], number)
            assert resource["metadata"] == {"times": number} and resource["updated"] > made["updated"]
    content = ask("GET", f"{one}?alt=media&generation={made['generation']}")
    assert content.data == b"content" and content.headers["X-Goog-Generation"] == made["generation"]
    assert ask("PATCH", f"{one}?ifMetagenerationMatch=1", body(metadata={})).status_code == 412
    written = put(ask, bucket, "a.txt", b"another", f"&ifGenerationMatch={made['generation']}").get_json()
    assert written["metageneration"] == "1" and written["generation"] > made["generation"]
    assert ask("DELETE", f"{one}?generation={made['generation']}").status_code == 404
    assert ask("DELETE", f"{one}?generation={written['generation']}").status_code == 204
    assert [entry.violations for entry in control_plane.log.entries() if entry.violations] == []


def test_links_name_the_generation_and_what_was_replaced_is_gone(ask: Any, bucket: str) -> None:
    first = put(ask, bucket, "d/a b", b"one").get_json()
    assert first["selfLink"] == f"https://www.googleapis.com/storage/v1/b/{bucket}/o/d%2Fa%20b"
    assert ask("GET", first["mediaLink"]).get_data() == b"one"
    put(ask, bucket, "d/a b", b"two")
    gone = ask("GET", first["mediaLink"])
    assert (gone.status_code, gone.mimetype) == (404, "text/html") and "No such object" in gone.get_data(as_text=True)
    assert (
        ask("GET", f"{API}/b/{bucket}/o/").get_json()["items"] == ask("GET", f"{API}/b/{bucket}/o").get_json()["items"]
    )


def test_an_etag_follows_content_and_metadata_and_makes_a_read_conditional(
    ask: Any, control_plane: Any, bucket: str
) -> None:
    first = put(ask, bucket, "a", b"one")
    assert first.headers["ETag"] == first.get_json()["etag"] != first.get_json()["md5Hash"]
    token = control_plane.identity.access_token(control_plane.identity.owner)["access_token"]

    def read(name: str, tag: str) -> int:
        headers = {"Authorization": f"Bearer {token}", name: tag}
        return int(ask("GET", f"{API}/b/{bucket}/o/a?alt=media", b"", headers).status_code)

    tag = first.get_json()["etag"]
    assert (read("If-None-Match", tag), read("If-Match", tag)) == (304, 200)
    ask("PATCH", f"{API}/b/{bucket}/o/a", body(contentType="text/plain"))
    assert (read("If-None-Match", tag), read("If-Match", tag)) == (200, 412)


def test_a_composed_object_says_of_how_many_parts_and_has_no_md5(ask: Any, bucket: str) -> None:
    for name in ("a", "b"):
        put(ask, bucket, name, name.encode())
    compose = body(sourceObjects=[{"name": "a"}, {"name": "b"}])
    made = ask("POST", f"{API}/b/{bucket}/o/c/compose", compose).get_json()
    assert made["componentCount"] == 2 and "md5Hash" not in made
    again = body(sourceObjects=[{"name": "c"}, {"name": "a"}])
    assert ask("POST", f"{API}/b/{bucket}/o/d/compose", again).get_json()["componentCount"] == 3
    assert ask("POST", f"{API}/b/{bucket}/o/e/compose", body(sourceObjects=[{"name": "none"}])).status_code == 404
    put(ask, bucket, "c", b"whole")
    assert "md5Hash" in ask("GET", f"{API}/b/{bucket}/o/c").get_json()


def test_an_object_is_not_found_by_another_name(ask: Any, bucket: str) -> None:
    put(ask, bucket, "x", b"one")
    for name in ("%2Fx", "d%2F..%2Fx", ".%2Fx"):
        assert ask("GET", f"{API}/b/{bucket}/o/{name}?alt=media").status_code == 404
        assert put(ask, bucket, name, b"two").status_code == 405
    assert ask("GET", f"{API}/b/{bucket}/o/x?alt=media").get_data() == b"one"


def test_a_compressed_object_is_unpacked_only_for_who_does_not_take_gzip(
    ask: Any, control_plane: Any, bucket: str
) -> None:
    packed = gzip.compress(b"hello " * 9)
    token = control_plane.identity.access_token(control_plane.identity.owner)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "multipart/related; boundary=cut"}
    parts = b"--cut\r\nContent-Type: application/json\r\n\r\n" + body(name="z", contentEncoding="gzip")
    parts += b"\r\n--cut\r\nContent-Type: text/plain\r\n\r\n" + packed + b"\r\n--cut--\r\n"
    assert ask("POST", f"{UPLOAD}/b/{bucket}/o?uploadType=multipart", parts, headers).status_code == 200
    assert ask("GET", f"{API}/b/{bucket}/o/z?alt=media").get_data() == b"hello " * 9
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip, deflate"}
    answer = ask("GET", f"{API}/b/{bucket}/o/z?alt=media", b"", headers)
    assert (answer.get_data(), answer.headers["Content-Encoding"]) == (packed, "gzip")
    assert answer.headers["X-Goog-Stored-Content-Length"] == str(len(packed))

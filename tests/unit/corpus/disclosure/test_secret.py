"""A secret: shown by nothing, read again when its file changes."""

import copy
import json
import logging
import os
import pickle
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from corpus.disclosure.secret import (
    EmptySecretError,
    HiddenValues,
    Secret,
    SecretFile,
    holds_password,
    without_password,
)

TEXT = "hunter2-canary"


@dataclass(frozen=True)
class Holder:
    """As the settings hold it."""

    secret: Secret


def outputs(secret: Secret) -> list[str]:
    holder = Holder(secret)
    trace = "".join(traceback.format_exception(ValueError(secret)))
    return [
        *(repr(secret), str(secret), f"{secret}", f"{secret:>20}", trace),
        *(repr(holder), repr(asdict(holder)), json.dumps(asdict(holder), default=str)),
        *(repr(copy.deepcopy(holder)), repr([secret]), repr({"a": secret})),
        logging.makeLogRecord({"msg": "%s", "args": (secret,)}).getMessage(),
        repr(HiddenValues({"sasl.password": TEXT})),
        str(HiddenValues({"sasl.password": TEXT})),
    ]


def test_no_output_has_it() -> None:
    secret = Secret.of(TEXT)
    assert [text for text in outputs(secret) if TEXT in text] == []
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == TEXT
    assert secret == Secret.of(TEXT) == TEXT
    assert secret != "other"
    assert not Secret.of("")
    assert secret.map(str.upper) == TEXT.upper()


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    secret = Secret(SecretFile(file).read)
    assert secret == "first"
    # As an operator, and as Kubernetes, replaces it.
    (tmp_path / "new").write_text("second")
    (tmp_path / "new").replace(file)
    assert secret == "second"
    file.write_text("third, in place")
    assert secret == "third, in place"


def test_a_file_that_is_being_replaced_leaves_the_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "password"
    file.write_text("first")
    secret = Secret(SecretFile(file).read)
    file.write_text("")
    assert secret == "first"
    file.unlink()
    assert secret == "first"
    file.write_text("second")
    assert secret == "second"
    assert "first" not in caplog.text
    assert "was not read again" in caplog.text


@pytest.mark.parametrize(("content", "error"), [(b"", EmptySecretError), (b"\xff", ValueError)])
def test_a_file_without_a_secret(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(error):
        SecretFile(tmp_path / "f")
    with pytest.raises(OSError, match="No such file"):
        SecretFile(tmp_path / "missing")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"postgresql://u:{TEXT}@h:1/d", "postgresql://u:***@h:1/d"),
        (f"postgresql://u:{TEXT}@x@h/d", "postgresql://u:***@h/d"),
        (f"postgresql://u:{TEXT}/x@h/d", "postgresql://u:***@h/d"),
        (f"postgresql://u@h/d?password={TEXT}&a=b", "postgresql://u@h/d?password=***&a=b"),
        (f"host=h password={TEXT} user=u", "host=h password=*** user=u"),
        (f"host=h password = '{TEXT} x\\' y' user=u", "host=h password = *** user=u"),
        (f"host=h password=ab://{TEXT} user=u", "host=h password=*** user=u"),
        (f"sslpassword={TEXT}", "sslpassword=***"),
        ("127.0.0.1:9092", "127.0.0.1:9092"),
        ("file:///home/x", "file:///home/x"),
        ("", ""),
    ],
)
def test_an_address_without_its_password(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_what_a_url_may_hold() -> None:
    assert holds_password("s3://key:secret@bucket")
    assert holds_password("az://c/p?sig=x")
    assert not holds_password("s3://bucket/a b")
    assert not holds_password(f"file://{os.sep}x@y")

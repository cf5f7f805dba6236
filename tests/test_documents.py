"""YAML within limits: what is beyond them is refused before it is built."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from conftest import Console
from lit_ae.documents import DEEPEST, LARGEST, MOST, guarded, local, parse, read, value
from lit_ae.errors import ConfigError

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FLOW = "[&a [x,x,x,x,x,x,x,x,x], " + ", ".join(
    f"&{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "line 6 makes more than 100,000 values"),
        (f"{FLOW}]", "makes more than 100,000 values"),
        (f"x: {'[' * 5000}", f"deeper than {DEEPEST} levels"),
        ("- " * 5000, f"deeper than {DEEPEST} levels"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is there twice"),
        ("model: {x: 1, 'x': 2}", "line 1: the key 'x' is there twice"),
        ("a: &a {b: *a}", "the alias *a holds itself"),
        (f"a: {'9' * 5000}", "a number of 5000 digits"),
        ("x" * (LARGEST + 1), "1,000,001 characters are too many"),
        ("a: 'x\n", "is not valid YAML at line"),
        ("!!python/object/apply:os.system [id]", "is not valid YAML"),
        ("a: !!int x", "is not valid YAML"),
        ("a: 0x_", "is not valid YAML"),
        ("? [a]\n: b", "unhashable key"),
        ("\x00", "is not a text file with YAML"),
        ("a: 1\n---\nb: 2\n", "another document"),
    ],
)
def test_what_is_refused_takes_one_sentence_and_no_time(text: str, said: str) -> None:
    started = time.thread_time()
    with pytest.raises(ConfigError) as caught:
        parse(text, "mine.yaml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("mine.yaml")
    assert len(str(caught.value)) < 400
    assert time.thread_time() - started < 1


def test_aliases_within_reason_are_as_ever() -> None:
    text = "base: &base {lr: 0.1, betas: &b [0.9, 0.99]}\nother:\n  <<: *base\n  lr: 0.2\nbetas: *b\nwhen: 2020-99-99\n"
    document = parse(text, "mine.yaml")
    assert document["other"] == {"lr": 0.2, "betas": [0.9, 0.99]}
    assert document["betas"] == [0.9, 0.99]
    assert document["when"] == "2020-99-99"  # no date


def test_a_value_of_the_command_line_is_text_where_it_is_no_yaml() -> None:
    assert value("[1, 2]", "--x") == [1, 2]
    assert value("[1, 2", "--x") == "[1, 2"
    assert value("a: b: c", "--x") == "a: b: c"
    with pytest.raises(ConfigError, match=r"^--x: line 1 makes more"):
        value(f"{FLOW}]", "--x")


def test_the_loader_of_the_parser_is_guarded() -> None:
    load = guarded(yaml.safe_load)
    assert load("{a: 1}") == {"a": 1}
    with pytest.raises(ConfigError, match="more than"):
        load(f"{FLOW}]")
    with pytest.raises(yaml.YAMLError):
        load("2020-99-99")  # ValueError of the loader's own


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x80abc", b"a: \xc3"])
def test_bytes_that_are_no_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match="is not a text file with YAML"):
        read(tmp_path / "mine.yaml")


@pytest.mark.parametrize("url", ["https://example.org/a.yaml", "s3://bucket/a", "file:///etc/a.yaml", "memory://a"])
def test_nothing_is_fetched(url: str, lit_ae: Console) -> None:
    with pytest.raises(ConfigError, match="nothing is fetched"):
        local(url, "--config")
    for arguments in (["fit", "--config", url], ["fit", "--runs", url], ["test", url], ["fit", "--ckpt_path", url]):
        done = lit_ae(*arguments, "--print_config")
        assert done.status in (2, 4), arguments
        assert url[:5] in done.err
        assert len(done.err.splitlines()) == 1


def test_bombs_are_refused_wherever_they_hide(lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMB)
    (tmp_path / "nested.yaml").write_text("model: bomb.yaml\n")
    (tmp_path / "text.yaml").write_text(yaml.safe_dump({"model": f"{FLOW}]"}))
    deep = {"model": {"class_path": "VAE", "init_args": {"encoder": {"class_path": "MLPEncoder"}}}}
    deep["model"]["init_args"]["encoder"]["init_args"] = {"hidden": [200, BOMB]}  # text where a number is wanted
    (tmp_path / "deep.yaml").write_text(yaml.safe_dump(deep))
    for arguments in (
        ["--config=bomb.yaml"],
        ["--config=deep.yaml"],
        ["--config=nested.yaml"],
        ["--config=text.yaml"],
        ["--model=bomb.yaml"],
        [f"--model={FLOW}]"],
        ["--model", f"{FLOW}]"],
        [f"--trainer.callbacks={FLOW}]"],
        [f"--name={FLOW}]"],
    ):
        done = lit_ae("fit", *arguments, "--print_config")
        assert done.status == 2, (arguments, done.err[:500])
        assert f"{MOST:,} values" in done.err or "deep.yaml" in arguments[0]  # there the parser says what is wanted
        assert len(done.err) < 600
        assert "Traceback" not in done.err


def test_a_callback_with_a_member_of_an_enumeration_is_written_down(lit_ae: Console, tmp_path: Path) -> None:
    timer = ("--trainer.callbacks=[Timer]", "--trainer.callbacks.duration=00:00:10:00")
    done = lit_ae("fit", "--config=vae", *timer, "--trainer.max_epochs=1", "--trainer.limit_train_batches=1")
    assert done.status == 0, done.err
    written = yaml.safe_load((tmp_path / "runs/vae/0/config.yaml").read_text())
    assert written["trainer"]["callbacks"][0]["init_args"]["interval"] == "step"

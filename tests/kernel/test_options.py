"""The parser of the magics' lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from bgpool_jupyter.kernel.definitions import read_definition
from bgpool_jupyter.kernel.export import write_options
from bgpool_jupyter.kernel.grammar import ACTOR, JOB, PARSERS, POOL, WORKER
from bgpool_jupyter.kernel.options import HelpShown

line_texts = st.text(st.characters(blacklist_characters="\n\r", blacklist_categories=["Cs"]), min_size=1)


@given(line_texts.filter(lambda text: text == text.strip() and not text.startswith("-")))
def test_code_is_not_touched(code):
    options, rest = read_definition(WORKER, f"--retry -n 'a b' 5s {code}", is_cell=False)
    assert (rest, options["interval"], options["name"], options["retry"]) == (code, "5s", "a b", True)
    assert read_definition(JOB, code, is_cell=False)[1] == code


@given(
    st.fixed_dictionaries(
        {"name": line_texts, "exists": st.sampled_from(["keep", "error"]), "data": line_texts, "retry": st.booleans()}
    )
)
def test_written_options_read_as_themselves(options):
    words = write_options(ACTOR, options)
    values, rest = ACTOR.take_options(" ".join([*words, "code"]))
    assert rest == "code"
    assert {key: values[key] for key in options} == options


@pytest.mark.parametrize(
    ("line", "name", "rest"),
    [
        ("-n poll 5s", "poll", "5s"),
        ("-n=poll 5s", "poll", "5s"),
        ("--name poll 5s", "poll", "5s"),
        ("--name=poll   5s", "poll", "5s"),
        ("--name 'my poll' 5s", "my poll", "5s"),
        ('--name="my poll" 5s', "my poll", "5s"),
        (r"--name my\ poll 5s", "my poll", "5s"),
        ("--name a=b 5s", "a=b", "5s"),
        ("--name -- 5s", "--", "5s"),
        ("--name --retry 5s", "--retry", "5s"),
        ("--name #1 5s", "#1", "5s"),
        ("  -n a -n b 5s  ", "b", "5s  "),
        ("-- --name a", None, "--name a"),
        ("-5s", None, "-5s"),
        ("-.5s", None, "-.5s"),
    ],
)
def test_ways_to_write_an_option(line, name, rest):
    values, left = WORKER.take_options(line)
    assert (values["name"], left) == (name, rest)


def test_defaults():
    values, rest = ACTOR.take_options("")
    assert rest == ""
    assert values == {
        "name": None,
        "delay": None,
        "at": None,
        "timeout": None,
        "max_lateness": None,
        "retry": False,
        "retries": None,
        "data": None,
        "finished": None,
        "on_event": None,
        "keep_frames": False,
        "dispose": False,
        "exists": "replace",
        "no_start": False,
    }


def test_options_between_words():
    options, words = POOL.take_words("log -n 5 'a b' c --")
    assert (options["last"], words) == (5, ["log", "a b", "c"])
    options, words = POOL.take_words("--last 5 log a b")
    assert (options["last"], words) == (5, ["log", "a", "b"])
    assert POOL.take_words("log a --last=2 -- -b")[1] == ["log", "a", "-b"]


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_help(parser, capsys):
    with pytest.raises(HelpShown):
        parser.take_options("--help whatever follows")
    shown = capsys.readouterr().out
    assert shown == parser.help + "\n"
    assert max(len(line) for line in shown.splitlines()) <= 120
    with pytest.raises(UsageError, match="^unknown option '--helpp'; "):
        parser.take_options("--helpp")

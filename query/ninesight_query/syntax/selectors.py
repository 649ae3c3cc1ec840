"""Selectors and the lists of labels: what stands in braces and behind by, on, group_left."""

from __future__ import annotations

from ninesight_store.contract import Matcher, MatchOp
from ninesight_store.errors import MatcherError
from ninesight_store.matchers import compile_matcher

from ninesight_query.syntax.cursor import Cursor
from ninesight_query.syntax.literals import NUMBER_WORDS, is_utf8
from ninesight_query.syntax.tokens import Token
from ninesight_query.syntax.tree import Selector

__all__ = ["label_list", "selector"]

NAME = "__name__"
_OPS = {"=": MatchOp.EQUAL, "!=": MatchOp.NOT_EQUAL, "=~": MatchOp.REGEX, "!~": MatchOp.NOT_REGEX}


def selector(cursor: Cursor) -> Selector:
    """Read `name`, `name{...}` or `{...}`."""
    start = cursor.now.start
    name = cursor.take().text if cursor.now.kind == "word" else ""
    matchers: tuple[Matcher, ...] = ()
    if cursor.now.kind == "{":
        cursor.take()
        matchers = _matchers(cursor)
    return Selector(start, cursor.previous_stop, name, matchers)


def _matchers(cursor: Cursor) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    while cursor.now.kind != "}":
        if found:
            if cursor.now.kind != ",":
                alternative = cursor.word() == "or"
                way_out = 'join alternatives in a regular expression, as in job=~"a|b"' if alternative else ""
                raise cursor.unexpected("label matching", '"," or "}"', way_out)
            cursor.take()
            if cursor.now.kind == "}":
                break
        found.append(_matcher(cursor))
    cursor.take()
    return tuple(found)


def _matcher(cursor: Cursor) -> Matcher:
    token = cursor.now
    if token.kind not in ("word", "string"):
        raise cursor.unexpected("label matching", 'identifier or "}"')
    cursor.take()
    name = _utf8(cursor, token) if token.kind == "string" else token.text
    op = _OPS.get(cursor.now.kind)
    if op is None:
        if token.kind == "word":
            raise cursor.unexpected(
                "label matching", "label matching operator", f'write {token.text}="value"'
            )
        return Matcher(NAME, MatchOp.EQUAL, name)
    if not name:
        raise cursor.problem("a label name must not be empty", token.start, token.stop)
    cursor.take()
    if cursor.now.kind != "string":
        raise cursor.unexpected(
            "label matching", "string", f'put the value in quotes, as in {token.text}="value"'
        )
    value = cursor.take()
    matcher = Matcher(name, op, _utf8(cursor, value))
    if op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
        try:
            compile_matcher(matcher)
        except MatcherError as error:
            raise cursor.problem(str(error), value.start, value.stop) from None
    return matcher


def _utf8(cursor: Cursor, token: Token) -> str:
    value = cursor.string(token)
    if not is_utf8(value):
        raise cursor.problem(f"a string must be valid UTF-8, got {token.text}", token.start, token.stop)
    return value


def _label(cursor: Cursor, token: Token) -> str:
    name = _utf8(cursor, token)
    if not name:
        raise cursor.problem("a label name must not be empty", token.start, token.stop)
    return name


def label_list(cursor: Cursor, context: str) -> tuple[str, ...]:
    """Read `(a, b, "c.d",)`."""
    cursor.expect("(", context)
    labels: list[str] = []
    while cursor.now.kind != ")":
        if labels:
            if cursor.now.kind != ",":
                raise cursor.unexpected(context, '"," or ")"')
            cursor.take()
            if cursor.now.kind == ")":
                break
        token = cursor.now
        if token.kind == "string":
            labels.append(_label(cursor, cursor.take()))
        elif token.kind == "word" and token.text.lower() not in NUMBER_WORDS:
            labels.append(cursor.take().text)
        else:
            raise cursor.unexpected(context, "label", "put an odd label name in quotes")
    cursor.take()
    return tuple(labels)

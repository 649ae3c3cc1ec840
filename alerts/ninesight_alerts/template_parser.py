"""From the tokens of a template to its tree (recursive descent, depth bounded)."""

from __future__ import annotations

from ninesight_alerts.errors import TemplateError
from ninesight_alerts.template_syntax import (
    DEPTH_MAX,
    Assign,
    Branch,
    Call,
    Field,
    Jump,
    Literal,
    Node,
    Operand,
    Output,
    Pipe,
    Text,
    Token,
    Variable,
    literal,
    split,
    tokens,
)

__all__ = ["parse_template"]

_WORDS = {"true": Literal(True), "false": Literal(False), "nil": Literal(None)}
_REFUSED = {"define", "template", "block"}
_END: Token = ("end", "")


def parse_template(text: str, functions: frozenset[str]) -> tuple[Node, ...]:
    """Return the template as nodes. Raises TemplateError that says what stands where it must not."""
    reader = _Reader(split(text), functions)
    nodes, stop = reader.nodes(0, in_range=False)
    if stop:
        raise TemplateError(f"unexpected {{{{ {stop} }}}}")
    return nodes


class _Reader:
    """Walks the pieces of one template."""

    def __init__(self, pieces: list[tuple[str, str]], functions: frozenset[str]) -> None:
        self._pieces = pieces
        self._at = 0
        self._functions = functions

    def nodes(self, depth: int, *, in_range: bool) -> tuple[tuple[Node, ...], str]:
        """Read up to `end` or `else`; return the nodes and the action that stopped them ("" at the end)."""
        if depth > DEPTH_MAX:
            raise TemplateError(f"blocks nest at most {DEPTH_MAX} deep")
        found: list[Node] = []
        while self._at < len(self._pieces):
            kind, content = self._pieces[self._at]
            self._at += 1
            if kind == "text":
                found.append(Text(content))
                continue
            word = content.split(None, 1)[0] if content else ""
            if word in {"end", "else"}:
                return tuple(found), content
            found.append(self._action(word, content, depth, in_range=in_range))
        return tuple(found), ""

    def _action(self, word: str, content: str, depth: int, *, in_range: bool) -> Node:
        if word in _REFUSED:
            raise TemplateError(f"{{{{ {word} }}}} is not supported; write the text where it is used")
        if word in {"if", "with", "range"}:
            return self._branch(word, content[len(word) :], depth, in_range=in_range or word == "range")
        if word in {"break", "continue"}:
            if not in_range:
                raise TemplateError(f"{{{{ {word} }}}} stands outside a range")
            return Jump(word)
        names, declares, pipe = _Action(content, self._functions).assignment()
        if len(names) > 1:
            raise TemplateError("only range declares two variables")
        return Assign(names[0], pipe, declares) if names else Output(pipe)

    def _branch(self, word: str, header: str, depth: int, *, in_range: bool) -> Branch:
        names, declares, pipe = _Action(header, self._functions).assignment()
        if names and not declares:
            raise TemplateError(f"{word} declares its variables with :=")
        if len(names) > (2 if word == "range" else 1):
            raise TemplateError(f"{word} declares too many variables: {len(names)}")
        body, stop = self.nodes(depth + 1, in_range=in_range)
        otherwise: tuple[Node, ...] = ()
        if stop.startswith("else"):
            rest = stop[4:].strip()
            if rest:
                inner = rest.split(None, 1)[0]
                if inner not in {"if", "with"} or word == "range":
                    raise TemplateError(f"unexpected {{{{ {stop} }}}} in {word}")
                # The nested branch reads on to the one `end` that closes both.
                nested = self._branch(inner, rest[len(inner) :], depth + 1, in_range=in_range)
                return Branch(word, names, pipe, body, (nested,))
            otherwise, stop = self.nodes(depth + 1, in_range=in_range)
        if stop != "end":
            raise TemplateError(
                f"{{{{ {word} }}}} is closed by {{{{ end }}}}, got {stop or 'the end of the text'}"
            )
        return Branch(word, names, pipe, body, otherwise)


class _Action:
    """Reads the tokens of one action."""

    def __init__(self, content: str, functions: frozenset[str]) -> None:
        self._content = content.strip()
        self._tokens = tokens(self._content)
        self._at = 0
        self._functions = functions

    def assignment(self) -> tuple[tuple[str, ...], bool, Pipe]:
        """Read `[$a[, $b] :=|=] pipe` to its end."""
        names, declares = self._names()
        pipe = self._pipe(0)
        self._blanks()
        if self._peek() != _END:
            raise self._wrong()
        return names, declares, pipe

    def _names(self) -> tuple[tuple[str, ...], bool]:
        plain = [token for token in self._tokens if token[0] != "space"]
        for count in (1, 2):
            head = plain[: 2 * count]
            shape = [kind if kind == "variable" else text for kind, text in head]
            if shape[:-1] == ["variable", ",", "variable"][: 2 * count - 1] and shape[-1:] in ([":="], ["="]):
                while self._tokens[self._at] != head[-1]:
                    self._at += 1
                self._at += 1
                return tuple(text[1:] for kind, text in head if kind == "variable"), shape[-1] == ":="
        return (), False

    def _pipe(self, depth: int) -> Pipe:
        if depth > DEPTH_MAX:
            raise TemplateError(f"parentheses nest at most {DEPTH_MAX} deep")
        calls = [self._call(depth)]
        while self._peek() == ("sign", "|"):
            self._at += 1
            calls.append(self._call(depth))
            if not calls[-1].function:
                raise TemplateError(f"a pipe leads into a function, in {{{{ {self._content[:60]} }}}}")
        return Pipe(tuple(calls))

    def _call(self, depth: int) -> Call:
        self._blanks()
        kind, text = self._peek()
        function = ""
        if kind == "name" and text not in _WORDS:
            if text not in self._functions:
                raise TemplateError(f"function {text!r} is not defined")
            function, self._at = text, self._at + 1
        operands: list[Operand] = []
        self._blanks()
        while self._peek() not in (_END, ("sign", "|"), ("sign", ")")):
            operands.append(self._operand(depth))
            self._blanks()
        if not function and len(operands) != 1:
            raise self._wrong() if not operands else TemplateError("a value cannot be called with arguments")
        return Call(function, tuple(operands))

    def _operand(self, depth: int) -> Operand:
        kind, text = self._peek()
        self._at += 1
        if kind in {"string", "number"}:
            return literal(kind, text)
        if kind == "name":
            if text in _WORDS:
                return _WORDS[text]
            if text in self._functions:
                return Call(text, ())
            raise TemplateError(f"function {text!r} is not defined")
        base: Variable | Field | Pipe
        if kind in {"dot", "variable"}:
            base = Variable("." if kind == "dot" else text[1:])
        elif kind == "field":
            base = Field(Variable("."), text[1:])
        elif (kind, text) == ("sign", "("):
            base = self._pipe(depth + 1)
            self._blanks()
            if self._peek() != ("sign", ")"):
                raise self._wrong()
            self._at += 1
        else:
            self._at -= 1
            raise self._wrong()
        while self._peek()[0] == "field":
            base = Field(base, self._peek()[1][1:])
            self._at += 1
        return base

    def _peek(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _blanks(self) -> None:
        while self._peek()[0] == "space":
            self._at += 1

    def _wrong(self) -> TemplateError:
        found = self._peek()[1] or "the end"
        return TemplateError(f"unexpected {found} in {{{{ {self._content[:60]} }}}}")

"""What a pickle would make torch's reader do, found out beforehand and without doing any of it.

torch's own safe reader (`weights_only`) runs no code that a file names, but a file of a hundred bytes still makes it
allocate any amount of memory, hash for ever, overflow the C stack, or take memory beyond a storage for its values. So
each pickle is first gone through here with stand-ins: a number or text stands for itself, everything else for its depth
and size. What CoreNet's checkpoints consist of is a short list; the rest is refused.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_BYTES: Final = 1 << 24  # CoreNet's largest training checkpoint needs a fiftieth of it
MAX_STEPS: Final = 2_000_000
MAX_DEPTH: Final = 50
MAX_SIZE: Final = 2_000_000  # values in one object once everything it shares is counted each time
MAX_HANDED: Final = 20_000_000  # values in all arguments of calls together
LARGEST_KEY: Final = 1 << 63  # whole numbers above can be chosen so that all of them hash alike
MAX_AXES: Final = 64  # torch's own limit

_UTILS: Final = "torch._utils."
_TENSORS: Final = frozenset(
    _UTILS + name
    for name in (
        "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter",
        "_rebuild_parameter_with_state", "_rebuild_sparse_tensor", "_rebuild_qtensor",
        "_rebuild_meta_tensor_no_storage",
    )
)  # fmt: skip
_CALLABLE: Final = _TENSORS | {
    "collections.OrderedDict", "torch._tensor._rebuild_from_type_v2", "torch.serialization._get_layout", "torch.Size",
    "torch.device", "torch.nn.parameter.Parameter", "builtins.complex", "__builtin__.complex", "_codecs.encode",
    "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
}  # fmt: skip
_BUILT: Final = frozenset({"collections.OrderedDict", "numpy.dtype"})
_ITEM_BYTES: Final[Mapping[str, int]] = {
    "torch.DoubleStorage": 8, "torch.FloatStorage": 4, "torch.HalfStorage": 2, "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8, "torch.IntStorage": 4, "torch.ShortStorage": 2, "torch.CharStorage": 1,
    "torch.ByteStorage": 1, "torch.BoolStorage": 1, "torch.ComplexDoubleStorage": 16, "torch.ComplexFloatStorage": 8,
    "torch.QUInt8Storage": 1,
    "torch.QInt8Storage": 1, "torch.QInt32Storage": 4, "torch.QUInt4x2Storage": 1, "torch.QUInt2x4Storage": 1,
    "torch.storage.UntypedStorage": 1, "torch.UntypedStorage": 1,
}  # fmt: skip
_VALUES: Final = (  # names of dtypes and quantization schemes: objects of torch that are never called
    "torch.float", "torch.double", "torch.half", "torch.bfloat16", "torch.int", "torch.uint", "torch.long",
    "torch.short", "torch.bool", "torch.complex", "torch.quint", "torch.qint",
    "torch.per_tensor_", "torch.per_channel_",
)  # fmt: skip


_NAMED: Final = (
    frozenset(_ITEM_BYTES) | {name.replace("torch.", "torch.cuda.") for name in _ITEM_BYTES} | {"torch.Tensor"}
)
_OTHER_STORAGE: Final = "names a storage in a way that torch does not"


class BadPickle(ValueError):
    """A pickle that is damaged, or made to do harm; the text ends a sentence that begins with "its pickle"."""


class OtherProtocol(BadPickle):
    """A pickle with instructions that torch's safe reader does not have."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a pickle asks for.

    Attributes:
        asked: Names of what it would import and call beyond what a checkpoint consists of.
        claims: Bytes that it takes each storage to have, by the storage's key.
        end: Where in the stream it ends.
    """

    asked: tuple[str, ...]
    claims: Mapping[Any, int]
    end: int


def scan(stream: io.BytesIO) -> Scan:
    """Goes through one pickle, from where the stream stands.

    Raises:
        OtherProtocol: It has instructions that torch's safe reader does not have.
        BadPickle: It is damaged, or would cost memory or time out of all proportion.
    """
    machine = _Machine()
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if opcode.name not in _STEPS:
                raise OtherProtocol(f"has the instruction {opcode.name}")
            if step > MAX_STEPS:
                raise BadPickle(f"has more than {MAX_STEPS:,} instructions")
            _STEPS[opcode.name](machine, argument)
    except OtherProtocol:
        if not machine.asked:
            raise
    except (IndexError, KeyError) as err:
        raise BadPickle("takes what it has not put") from err
    except (ValueError, OverflowError) as err:
        raise err if isinstance(err, BadPickle) else BadPickle(f"is damaged ({err})") from err
    return Scan(tuple(sorted(machine.asked)), machine.claims, stream.tell())


@dataclass(slots=True, eq=False)
class _Thing:
    """Stands for whatever is no plain number or text.

    Attributes:
        kind: tuple, list, dict, global, storage, or the name of what made it.
        items: Of a tuple.
        depth: How deep it is nested.
        size: How many values it holds once everything shared is counted each time.
    """

    kind: str
    items: tuple[Any, ...] = ()
    name: str = ""
    depth: int = 1
    size: int = 1

    def take(self, *parts: Any) -> _Thing:
        """Puts values into it."""
        for part in parts:
            if isinstance(part, _Thing):
                self.depth = max(self.depth, part.depth + 1)
                self.size += part.size
            else:
                self.size += 1
        if self.depth > MAX_DEPTH:
            raise BadPickle(f"is nested more than {MAX_DEPTH} deep")
        if self.size > MAX_SIZE:
            raise BadPickle(f"holds more than {MAX_SIZE:,} values, or one that holds itself")
        return self


@dataclass(slots=True)
class _Machine:
    """The stack, the marks and the memo of torch's reader, with stand-ins in them."""

    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    claims: dict[Any, int] = field(default_factory=dict)
    handed: int = 0

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def tuple_of(self, count: int) -> None:
        if count > len(self.stack):
            raise IndexError
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.push(_Thing("tuple", items).take(*items))

    def tuple_since_mark(self, _: Any) -> None:
        items = tuple(self.since_mark())
        self.push(_Thing("tuple", items).take(*items))

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        self._container("list").take(item)

    def appends(self, _: Any) -> None:
        items = self.since_mark()
        self._container("list").take(*items)

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill(key, value)

    def set_items(self, _: Any) -> None:
        items = self.since_mark()
        if len(items) % 2:
            raise IndexError
        self._fill(*items)

    def name(self, argument: str) -> None:
        """`module name`, as pickletools gives it."""
        name = argument.replace(" ", ".", 1)
        if name not in _CALLABLE and name not in _NAMED and not name.startswith(_VALUES):
            self.asked.add(name)
        self.push(_Thing("global", name=name))

    def call(self, _: Any) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, _Thing) or called.kind != "global":
            if not self.asked:
                raise BadPickle("calls what it has made")
            self.push(_Thing("made").take(arguments))  # by something that is refused by its name
            return
        if called.name not in _CALLABLE:
            self.asked.add(called.name)
        self._check_call(called.name, arguments)
        self.push(_Thing(called.name).take(arguments))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if not isinstance(built, _Thing):
            raise BadPickle("gives a state to a plain value")
        if built.kind not in _BUILT and not self.asked:
            raise BadPickle(f"gives a state to {built.kind}")
        built.take(state)

    def storage(self, _: Any) -> None:
        """torch's persistent id: ("storage", type, key, location, count) and, in legacy files, a view or None."""
        given = self.stack.pop()
        items = given.items if isinstance(given, _Thing) else ()
        if items[:1] == ("module",):  # of a whole pickled model; its class has been asked for
            self.push(items[1])
            return
        if len(items) not in (5, 6) or items[0] != "storage" or not _is_view(items[5:]):
            raise BadPickle(_OTHER_STORAGE)
        kind, key, location, count = items[1:5]
        size = _ITEM_BYTES.get(kind.name.replace(".cuda", "")) if isinstance(kind, _Thing) else None
        if size is None or not isinstance(key, str) or not isinstance(location, str) or type(count) is not int:
            raise BadPickle(_OTHER_STORAGE)
        if count < 0:
            raise BadPickle(f"takes a storage to have {count} values")
        self.claims[key] = max(self.claims.get(key, 0), count * size)
        self.push(_Thing("storage"))

    def _container(self, kind: str) -> _Thing:
        container = self.stack[-1]
        if isinstance(container, _Thing) and (container.kind == kind or self.asked):
            return container
        raise BadPickle(f"fills something that is no {kind}")

    def _fill(self, *items: Any) -> None:
        """Keys and values by turns into the mapping on top of the stack."""
        for key in items[::2]:
            if isinstance(key, _Thing) and not self.asked:
                raise BadPickle("has a key that is neither text nor a number")
            if isinstance(key, int) and abs(key) >= LARGEST_KEY:
                raise BadPickle("has a key of more than 63 bits")
        container = self.stack[-1]
        ordered = isinstance(container, _Thing) and container.kind == "collections.OrderedDict"
        (container if ordered else self._container("dict")).take(*items)

    def _check_call(self, name: str, arguments: Any) -> None:
        if not isinstance(arguments, _Thing) or arguments.kind != "tuple":
            raise BadPickle(f"calls {name} without a tuple of arguments")
        self.handed += arguments.size
        if self.handed > MAX_HANDED:
            raise BadPickle(f"hands more than {MAX_HANDED:,} values to what it calls")
        if name == "collections.OrderedDict" and arguments.items:
            raise BadPickle("fills an OrderedDict as Python 2 does")
        if name == "_codecs.encode" and arguments.items[1:] != ("latin1",):
            self.asked.add(name)
        for shape in arguments.items if name in _TENSORS else ():
            if isinstance(shape, _Thing) and shape.kind == "tuple" and len(shape.items) > MAX_AXES:
                raise BadPickle(f"has a tensor of {len(shape.items)} axes")
        if name.endswith("_rebuild_from_type_v2") and getattr(arguments.items[0], "name", None) not in _TENSORS:
            self.asked.add(name)


def _is_view(rest: tuple[Any, ...]) -> bool:
    """Whether this is what a legacy file says after a storage's size: nothing, or key, offset and size of a view."""
    if rest in ((), (None,)):
        return True
    return isinstance(rest[0], _Thing) and [type(item) for item in rest[0].items] == [str, int, int]


_NOTHING: Final = frozenset({"PROTO", "STOP"})
_SCALARS: Final = (
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1", "BINUNICODE", "SHORT_BINSTRING",
)  # fmt: skip
_STEPS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = {
    **dict.fromkeys(_NOTHING, lambda machine, argument: None),
    **dict.fromkeys(_SCALARS, _Machine.push),
    "MARK": _Machine.mark,
    "EMPTY_TUPLE": lambda machine, argument: machine.push(_Thing("tuple")),
    "EMPTY_LIST": lambda machine, argument: machine.push(_Thing("list")),
    "EMPTY_DICT": lambda machine, argument: machine.push(_Thing("dict")),
    "EMPTY_SET": lambda machine, argument: machine.push(_Thing("set")),
    "TUPLE": _Machine.tuple_since_mark,
    "TUPLE1": lambda machine, argument: machine.tuple_of(1),
    "TUPLE2": lambda machine, argument: machine.tuple_of(2),
    "TUPLE3": lambda machine, argument: machine.tuple_of(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.storage,
}

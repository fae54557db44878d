"""A running count of each key, in Python straight on the world `process` of wit/typed.wit, with no SDK.

componentize-py makes a new object for every call, so what lasts between calls lies in the module.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import collector, keyed_state
from wit_world.imports.types import Error_BadRecord, Error_Failed

DESCRIPTION = """{"version":1,"functions":[{"name":"count","kind":"process","input":"raw","output":"raw",
"state":[{"name":"count","kind":"value","encoding":"u64-le"}]}]}"""

count_slot = 0


class Lifecycle(exports.Lifecycle):
    def describe(self) -> str:
        return DESCRIPTION

    def open(self, function: str, config: str) -> None:
        global count_slot
        count_slot = keyed_state.open_value("count")

    def close(self) -> None:
        pass


class ProcessFunction(exports.ProcessFunction):
    def process_element(self, e) -> None:
        if not e.value:
            raise Err(Error_BadRecord("the value is empty"))
        stored = keyed_state.value_get(count_slot)
        if stored is not None and len(stored) != 8:
            raise Err(Error_Failed('the state "count" does not hold 8 bytes'))
        count = 1 if stored is None else int.from_bytes(stored, "little") + 1
        keyed_state.value_set(count_slot, count.to_bytes(8, "little"))
        collector.emit(b"%b:%d" % (e.key, count))

    def on_timer(self, at: int, processing_time: bool) -> None:
        pass

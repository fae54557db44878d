// Package export_wasmill_function_process_function is a running count of each key, in Go straight on the
// world `process` of wit/typed.wit, with no SDK.
package export_wasmill_function_process_function

import (
	"encoding/binary"
	"strconv"

	"wit_component/wasmill_function_collector"
	"wit_component/wasmill_function_keyed_state"
	. "wit_component/wasmill_function_types"

	"go.bytecodealliance.org/pkg/wit/types"
)

type result = wit_types.Result[wit_types.Unit, Error]

var countSlot uint32

// OpenState opens the one state that `describe` declares.
func OpenState() { countSlot = wasmill_function_keyed_state.OpenValue("count") }

// ProcessElement emits `key:count`.
func ProcessElement(e Element) result {
	if len(e.Value) == 0 {
		return wit_types.Err[wit_types.Unit](MakeErrorBadRecord("the value is empty"))
	}
	count := uint64(1)
	if stored := wasmill_function_keyed_state.ValueGet(countSlot); stored.IsSome() {
		bytes := stored.Some()
		if len(bytes) != 8 {
			return wit_types.Err[wit_types.Unit](MakeErrorFailed(`the state "count" does not hold 8 bytes`))
		}
		count += binary.LittleEndian.Uint64(bytes)
	}
	wasmill_function_keyed_state.ValueSet(countSlot, binary.LittleEndian.AppendUint64(nil, count))
	text := make([]byte, 0, len(e.Key)+21)
	text = append(append(text, e.Key...), ':')
	wasmill_function_collector.Emit(strconv.AppendUint(text, count, 10))
	return wit_types.Ok[wit_types.Unit, Error](wit_types.Unit{})
}

// OnTimer is never called: the function registers no timer.
func OnTimer(at int64, processingTime bool) result {
	return wit_types.Ok[wit_types.Unit, Error](wit_types.Unit{})
}

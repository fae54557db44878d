// Package export_wasmill_function_lifecycle implements the interface `lifecycle` of wit/typed.wit for
// the keyed count. The bindings, generated at build, call it by this name.
package export_wasmill_function_lifecycle

import (
	"wit_component/export_wasmill_function_process_function"
	. "wit_component/wasmill_function_types"

	"go.bytecodealliance.org/pkg/wit/types"
)

const description = `{"version":1,"functions":[{"name":"count","kind":"process","input":"raw","output":"raw",
"state":[{"name":"count","kind":"value","encoding":"u64-le"}]}]}`

// Describe says which functions the component holds (docs/describe.md).
func Describe() string { return description }

// Open opens the state, once for each subtask.
func Open(function, config string) wit_types.Result[wit_types.Unit, Error] {
	export_wasmill_function_process_function.OpenState()
	return wit_types.Ok[wit_types.Unit, Error](wit_types.Unit{})
}

// Close has nothing to release.
func Close() wit_types.Result[wit_types.Unit, Error] {
	return wit_types.Ok[wit_types.Unit, Error](wit_types.Unit{})
}

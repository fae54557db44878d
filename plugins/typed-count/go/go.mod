// The module name is the one that the generated bindings import their halves by.
module wit_component

go 1.24

// What the generated bindings call at run time; a cut-down copy lies here, see witsupport/README.md.
require go.bytecodealliance.org/pkg v0.4.0

replace go.bytecodealliance.org/pkg => ./witsupport

package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// packaged is the version of the package that the program comes in; the builder of the
// package sets it (-ldflags -X). Without it the build says which commit it is of.
var packaged string

// version is `hvrouter version`.
func version(in invocation) int {
	if _, ok := in.words(in.flags("version"), 0, 0); !ok {
		return exitUsage
	}
	fmt.Fprintf(in.stdout, "hvrouter %s %s\n", release(), runtime.Version())
	return exitOK
}

// release is the version that this is.
func release() string {
	if packaged != "" {
		return packaged
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}

package cli

import (
	"fmt"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
)

// check reads the configuration, then compares the host with what it needs.
func check(in invocation) int {
	fs := in.flags("check")
	file := fs.String("config", defaultConfig, "configuration `FILE`")
	only := fs.Bool("syntax", false, "check the file only, not the host")
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	c, err := config.Load(*file)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	if *only {
		fmt.Fprintf(in.stdout, "%s: fine\n", *file)
		return exitOK
	}
	findings := host.Check(c, host.System)
	for _, f := range findings {
		fmt.Fprintln(in.stdout, f)
	}
	if host.Bad(findings) {
		return exitFailed
	}
	fmt.Fprintf(in.stdout, "%s: fine, and so is the host\n", *file)
	return exitOK
}

package cli

import (
	"flag"
	"fmt"
	"io"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// check reads the configuration.
func check(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("hvrouter check", flag.ContinueOnError)
	fs.SetOutput(stderr)
	file := fs.String("config", "/etc/hvrouter/hvrouter.yaml", "configuration `FILE`")
	if fs.Parse(args) != nil {
		return exitUsage
	}
	if _, err := config.Load(*file); err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	fmt.Fprintf(stdout, "%s: fine\n", *file)
	return exitOK
}

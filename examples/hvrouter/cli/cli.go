// Package cli is the command line of hvrouter.
package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it was tried and did not work, or check found drift
	exitUsage  = 2 // wrong flags or a wrong configuration: nothing was touched
)

// command is one word of the command line.
type command struct {
	name, usage, help string
	run               func(args []string, stdout, stderr io.Writer) int
}

func commands() []command {
	return []command{
		{"check", "-config FILE", "check the configuration", check},
	}
}

// Main runs the command in args (without the program's name) and returns the
// exit code: 0 fine, 1 failed, 2 wrong usage or configuration.
func Main(args []string) int { return run(args, os.Stdout, os.Stderr) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		usage(stdout)
		return exitOK
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "hvrouter: unknown command %q; `hvrouter help` lists them\n", args[0])
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "hvrouter makes a router of a hypervisor.")
	for _, c := range commands() {
		fmt.Fprintf(w, "  hvrouter %s %s\n        %s\n", c.name, c.usage, c.help)
	}
}

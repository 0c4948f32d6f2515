package cli

import (
	"fmt"
	"io"
	"strings"
)

const helpOfHelp = "print the commands, or the flags and examples of one"

// help is `hvrouter help [COMMAND]`.
func help(in invocation, words []string) int {
	if len(words) == 0 {
		usage(in.stdout)
		return exitOK
	}
	if words[0] == "help" {
		fmt.Fprintf(in.stdout, "hvrouter help [COMMAND]\n%s\n", helpOfHelp)
		return exitOK
	}
	for _, d := range describe() {
		if d.name == words[0] {
			printHelp(in.stdout, d)
			return exitOK
		}
	}
	return in.fail(exitUsage, fmt.Errorf("unknown command %q; `hvrouter help` lists them", words[0]))
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "hvrouter makes a router of a hypervisor.")
	for _, c := range commands() {
		fmt.Fprintf(w, "  hvrouter %s %s\n        %s\n", c.name, c.usage, c.help)
	}
	fmt.Fprintf(w, "  hvrouter help [COMMAND]\n        %s\n", helpOfHelp)
}

func printHelp(w io.Writer, d description) {
	fmt.Fprintf(w, "hvrouter %s %s\n%s\n", d.name, d.usage, d.help)
	for _, o := range d.flags {
		fmt.Fprintf(w, "  %s\n        %s%s\n", strings.TrimSpace("-"+o.name+" "+o.value), o.help, o.orElse(" (default %s)"))
	}
	fmt.Fprintln(w, "Examples:")
	for _, e := range examples[d.name] {
		fmt.Fprintf(w, "  %s\n        %s\n", e.line, e.what)
	}
}

// orElse formats the default, if there is one.
func (o option) orElse(format string) string {
	if o.def == "" {
		return ""
	}
	return fmt.Sprintf(format, o.def)
}

package cli

import (
	"flag"
	"fmt"
	"os"
	"slices"
)

// flags makes a flag set that reports on standard error.
func (in invocation) flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet("hvrouter "+name, flag.ContinueOnError)
	fs.SetOutput(in.stderr)
	return fs
}

// api defines the flag of the daemon's socket.
func (in invocation) api(fs *flag.FlagSet) *string {
	socket := defaultAPI
	if path := os.Getenv("HVROUTER_API"); path != "" && in.inspect == nil {
		socket = path
	}
	return fs.String("api", socket, "the daemon's socket; $HVROUTER_API if that is set")
}

// words parses flags wherever they stand and gives the other words; ok is false if
// a flag is wrong or there are fewer words than least or more than most.
func (in invocation) words(fs *flag.FlagSet, least, most int) (words []string, ok bool) {
	if in.inspect != nil {
		in.inspect(fs)
		return nil, false
	}
	for rest := in.args; ; {
		if fs.Parse(rest) != nil {
			return nil, false
		}
		rest = fs.Args()
		if len(rest) == 0 {
			break
		}
		words = append(words, rest[0])
		rest = slices.Clone(rest[1:])
	}
	if len(words) < least || len(words) > most {
		command := fs.Name()[len("hvrouter "):]
		if len(words) > most {
			fmt.Fprintf(in.stderr, "hvrouter: %s: unexpected %q\n", command, words[most])
		} else {
			fmt.Fprintf(in.stderr, "hvrouter: %s: something is missing\n", command)
		}
		fmt.Fprintf(in.stderr, "hvrouter: `hvrouter help %s` says how it is used\n", command)
		return nil, false
	}
	return words, true
}

// set reports whether a flag was given.
func set(fs *flag.FlagSet, name string) (given bool) {
	fs.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

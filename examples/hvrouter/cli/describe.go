package cli

import (
	"flag"
	"io"
	"strings"
	"unicode"
)

// description is what a command says of itself: its line of [commands], and the flags that
// it defines when it runs. Help, manual pages and completions are made of it.
type description struct {
	command
	flags []option
	words []string // that may stand first behind the command's name
}

// option is a flag.
type option struct {
	name, value, help string // value is empty for a flag that takes none
	def               string // default, empty for the zero value
	files             bool   // its value names a file
}

// describe runs each command up to the point where it reads its arguments.
func describe() []description {
	var all []description
	for _, c := range commands() {
		d := description{command: c, words: firstWords(c.usage)}
		in := invocation{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, inspect: func(fs *flag.FlagSet) { d.flags = options(fs) }}
		c.run(in)
		all = append(all, d)
	}
	return all
}

func options(fs *flag.FlagSet) (out []option) {
	fs.VisitAll(func(f *flag.Flag) {
		value, help := flag.UnquoteUsage(f)
		o := option{name: f.Name, value: strings.ToUpper(value), help: help, files: value == "FILE" || value == "PATH" || f.Name == "api"}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "-1" {
			o.def = f.DefValue
		}
		out = append(out, o)
	})
	return out
}

// firstWords returns the words of a usage that are to be typed as they are and may come
// first: of `add [FILE]|del NAME|list [-api PATH]` add, del and list.
func firstWords(usage string) (words []string) {
	for _, alternative := range strings.Split(withoutFlags(usage), "|") {
		fields := strings.Fields(strings.Trim(alternative, " []"))
		if len(fields) > 0 && isWord(strings.Trim(fields[0], "[]")) {
			words = append(words, strings.Trim(fields[0], "[]"))
		}
	}
	return words
}

// withoutFlags cuts what is in brackets and begins with a dash, and a flag without brackets
// with the value behind it.
func withoutFlags(usage string) string {
	var b strings.Builder
	for rest := usage; ; {
		before, after, found := strings.Cut(rest, "[-")
		b.WriteString(before)
		if !found {
			break
		}
		_, rest, _ = strings.Cut(after, "]")
	}
	if strings.HasPrefix(b.String(), "-") {
		return ""
	}
	return b.String()
}

func isWord(s string) bool {
	for _, r := range s {
		if !unicode.IsLower(r) && r != '-' {
			return false
		}
	}
	return s != "" && s[0] != '-'
}

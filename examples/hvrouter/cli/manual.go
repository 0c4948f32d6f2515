package cli

import (
	"fmt"
	"strings"
)

// ManualPage is a page for man(1), in the language of man(7).
type ManualPage struct {
	Name string // of the file: hvrouter-show.8
	Text string
}

// Manual returns hvrouter(8) and a page for each command, as `hvrouter help` has them.
// The version and the date stand in the footer.
func Manual(version, date string) []ManualPage {
	all := describe()
	var b strings.Builder
	heading(&b, "HVROUTER", version, date)
	fmt.Fprintf(&b, ".SH NAME\nhvrouter \\- make a router of a hypervisor\n.SH SYNOPSIS\n.B hvrouter\n.I COMMAND\n[flags]\n")
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(about))
	fmt.Fprintf(&b, ".SH COMMANDS\n")
	for _, d := range all {
		fmt.Fprintf(&b, ".TP\n.BR hvrouter\\-%s (8)\n%s.\n", roff(d.name), roff(d.help))
	}
	fmt.Fprintf(&b, ".SH EXIT STATUS\n%s\n", roff(exits))
	fmt.Fprintf(&b, ".SH FILES\n")
	for _, f := range paths {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s.\n", roff(f[0]), roff(f[1]))
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\nhttps://github.com/hyperfib/hyperfib: docs/operations.md\n")
	pages := []ManualPage{{"hvrouter.8", b.String()}}
	for _, d := range all {
		pages = append(pages, ManualPage{"hvrouter-" + d.name + ".8", page(d, version, date)})
	}
	return pages
}

const about = "The daemon turns a Linux hypervisor into a router of its guests: BGP to route reflectors, BFD, the kernel's tables, and what guests are told by ARP, NDP, DHCP and router advertisements. " +
	"Two processes do the work: `hvrouter run`, and `hvrouter bfd`, whose sessions outlive a restart of the first. The other commands ask the daemon at its socket, or tell it something."

const exits = "0: done. 1: it was tried and did not work, or a difference was found. 2: wrong flags, or a wrong configuration: nothing was touched. The page of a command says where it differs. What is printed and cannot be written (a full disk) is an error: `check`, `convert`, `diff`, `explain` and `show health` exit 2 then, whatever they have found, other commands 1. A reader that ends first, such as `head`, is none. " + patience

const patience = "A daemon that is there and answers nothing is given up after 5 s: `show health` is broken then and exits 2, `explain` goes on with the kernel alone and exits 2, `diff` exits 2, other commands exit 1. One that answers other questions has a minute, and two for a change such as `reload`; `show health` waits 8 s. What follows or waits (`watch`, `show -w`, `drain -wait`) goes on once it has begun. `show health` is broken also if no daemon runs (`no-daemon`), and if its answer is none (`failed-answer`); if it cannot be asked, for a reason that says nothing about it (`not-permitted`, `busy`, `not-asked`), it is unknown, exit 3."

var paths = [][2]string{
	{defaultConfig, "The configuration"},
	{defaultAPI, "The daemon's socket"},
	{defaultAPI + ".bfd", "The socket of the BFD process"},
	{"/var/lib/hvrouter", "State that outlives a reboot"},
	{"/usr/share/hvrouter", "Samples: configurations, drop-ins, alert rules, a dashboard"},
}

func page(d description, version, date string) string {
	var b strings.Builder
	heading(&b, "HVROUTER-"+strings.ToUpper(d.name), version, date)
	fmt.Fprintf(&b, ".SH NAME\nhvrouter\\-%s \\- %s\n", roff(d.name), roff(d.help))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B hvrouter %s\n%s\n", roff(d.name), roff(d.usage))
	if len(d.flags) > 0 {
		fmt.Fprintf(&b, ".SH OPTIONS\nFlags may stand before and behind other words.\n")
	}
	for _, o := range d.flags {
		fmt.Fprintf(&b, ".TP\n.B \\-%s", roff(o.name))
		if o.value != "" {
			fmt.Fprintf(&b, " \\fI%s\\fR", roff(o.value))
		}
		fmt.Fprintf(&b, "\n%s%s.\n", roff(o.help), roff(o.orElse(" (default %s)")))
	}
	fmt.Fprintf(&b, ".SH EXAMPLES\n")
	for _, e := range examples[d.name] {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s.\n", roff(e.line), roff(e.what))
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n.BR hvrouter (8)\n")
	return b.String()
}

func heading(b *strings.Builder, title, version, date string) {
	fmt.Fprintf(b, ".\\\" Generated from the table of commands; do not edit.\n.TH %s 8 %q %q\n", title, date, "hvrouter "+version)
}

// roff escapes what man(7) would take for its own.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

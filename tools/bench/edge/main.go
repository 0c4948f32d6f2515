// Command edge measures what stands between a hypervisor and its guests: ARP and
// neighbor answers under a flood, router advertisements, many interfaces, VXLAN
// forwarding entries; each beside the kernel or the program that people run for it, in
// the same run. It works in network namespaces of its own and needs root. Start it as
// `.ci/bench edge`.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"
)

// row is one result.
type row struct {
	what, who, value, limit string
	missed                  bool
}

// bench collects rows.
type bench struct {
	rows []row
	self string // this program, for the roles
	full bool
}

// add notes a result; limit is empty for a peer.
func (b *bench) add(what, who, value, limit string, ok bool) {
	b.rows = append(b.rows, row{what, who, value, limit, limit != "" && !ok})
	fmt.Fprintf(os.Stderr, "%s | %s | %s\n", what, who, value)
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "role" {
		os.Exit(role(os.Args[2], os.Args[3:]))
	}
	only := flag.String("only", "codec,arp,ndp,ra,scale,fdb", "parts to run")
	full := flag.Bool("full", false, "longer runs")
	flag.Parse()
	b := &bench{full: *full}
	var err error
	if b.self, err = os.Executable(); err != nil || os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "edge: needs root to make network namespaces", err)
		os.Exit(2)
	}
	parts := map[string]func(*bench) error{"codec": codec, "arp": arpFlood, "ndp": ndpFlood, "ra": routerAdvertisements, "scale": scale, "fdb": forwarding}
	for _, name := range strings.Split(*only, ",") {
		if parts[name] == nil {
			err = fmt.Errorf("no part %q", name)
		} else {
			err = parts[name](b)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "edge: %s: %v\n", name, err)
			b.add(name, "hyperfib", err.Error(), "runs", false)
		}
	}
	os.Exit(b.report())
}

// report prints the table and returns the exit code.
func (b *bench) report() (code int) {
	w := tabwriter.NewWriter(os.Stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "measurement\twho\tvalue\tlimit\tverdict")
	for _, r := range b.rows {
		verdict := ""
		switch {
		case r.missed:
			verdict, code = "MISSED", 1
		case r.limit != "":
			verdict = "ok"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.what, r.who, r.value, r.limit, verdict)
	}
	w.Flush()
	return code
}

// need looks for a peer; without it its rows are left out, except in CI.
func need(name string) (string, bool) {
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			fmt.Fprintf(os.Stderr, "edge: no %s here\n", name)
			return "", false
		}
	}
	return path, true
}

// Command budget measures what the programs cost when nothing happens, and what they leave
// behind: wakeups, descriptors, memory, goroutines, lines of log, against absolute limits;
// and times as ratios inside one run, with the absolute targets beside them. It works in
// network namespaces of its own and needs root. Start it as `.ci/bench budget`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
)

// row is one result. Counts and ratios have a limit, which is enforced; times, which the
// machine decides about, have a target, which is shown.
type row struct {
	what, value   string
	limit, target string
	missed        bool
}

// budget collects the rows of one part.
type budget struct {
	rows []row
	many int // guests
}

// most notes a count, or a ratio, that must not exceed a limit.
func (b *budget) most(what string, value, limit float64, unit string) {
	b.add(row{what: what, value: number(value, unit), limit: number(limit, unit), missed: value > limit})
}

// show notes what has no limit of its own; target may be "".
func (b *budget) show(what, value, target string) {
	b.add(row{what: what, value: value, target: target})
}

func (b *budget) add(r row) {
	b.rows = append(b.rows, r)
	fmt.Fprintf(os.Stderr, "%s: %s\n", r.what, r.value)
}

// number writes a value with three digits.
func number(v float64, unit string) string {
	format := "%.0f"
	if v < 10 {
		format = "%.2f"
	} else if v < 100 {
		format = "%.1f"
	}
	return strings.TrimSpace(strings.TrimSuffix(fmt.Sprintf(format, v), ".00") + " " + unit)
}

// parts in the order in which they run.
var parts = []struct {
	name   string
	run    func(context.Context, *budget) error
	beside bool // it counts lines while others run
}{
	{"refuse", refuse, true},  // peers that do not want us
	{"idle", idle, false},     // sessions that stay up
	{"guests", guests, false}, // a thousand come and go
	{"answer", answer, false}, // guests ask for each other
	{"exit", exits, false},    // the end of a daemon that has them
	{"memory", memory, false}, // of a reflector whose routes have gone
}

func main() {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	only := flag.String("only", strings.Join(names, ","), "parts to run")
	many := flag.Int("guests", 1000, "how many guests there are")
	flag.Parse()
	if os.Geteuid() != 0 || os.Getenv("HVROUTER") == "" {
		fmt.Fprintln(os.Stderr, "budget: needs root, to make network namespaces, and to be started as .ci/bench budget")
		os.Exit(2)
	}
	wanted := strings.Split(*only, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			fmt.Fprintf(os.Stderr, "budget: no part %q; there are %s\n", name, strings.Join(names, ","))
			os.Exit(2)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(report(run(ctx, wanted, *many)))
}

// run runs parts and returns the rows of all.
func run(ctx context.Context, wanted []string, many int) (rows []row) {
	results := make([]budget, len(parts))
	var beside sync.WaitGroup
	for i, p := range parts {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		b := &results[i]
		b.many = many
		do := func() {
			if err := p.run(ctx, b); err != nil {
				b.add(row{what: p.name, value: err.Error(), limit: "runs", missed: true})
			}
		}
		if p.beside {
			beside.Go(do)
		} else {
			do()
		}
	}
	beside.Wait()
	for _, b := range results {
		rows = append(rows, b.rows...)
	}
	return rows
}

// report prints the table and returns the exit code.
func report(rows []row) (code int) {
	w := tabwriter.NewWriter(os.Stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nmeasurement\tvalue\tlimit\ttarget\tverdict")
	for _, r := range rows {
		verdict := ""
		switch {
		case r.missed:
			verdict, code = "MISSED", 1
		case r.limit != "":
			verdict = "ok"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.what, r.value, r.limit, r.target, verdict)
	}
	w.Flush()
	return code
}

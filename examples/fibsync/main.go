// Command fibsync keeps a routing table equal to a list: it reads routes as JSON
// lines from standard input and prints, as JSON lines, what it wrote to the kernel
// and why. It repairs what others break, until interrupted.
//
//	{"prefix": "203.0.113.0/24", "via": ["198.51.100.102 v0", "198.51.100.202 v1"], "metric": 10}
//	{"prefix": "0.0.0.0/0", "type": "blackhole", "metric": 4294967294}
//	{"prefix": "203.0.113.0/24", "metric": 10, "delete": true}
//	{"sync": true}
//
// `sync` says that the list is complete: routes of ours that are in the table and
// were not named go then (at the end of the input too). With -once it ends when
// all is written: `fibsync -table 90 -once < routes.json` in a script.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/hyperfib/hyperfib/fib"
)

func main() {
	table := flag.Uint("table", 90, "routing table `id` to keep equal to the input")
	netns := flag.String("netns", "", "network namespace `path`")
	once := flag.Bool("once", false, "end when the input has ended and everything is written")
	dry := flag.Bool("dry-run", false, "print the differences instead of writing them, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, fib.Config{NetNS: *netns, Tables: []uint32{uint32(*table)}, DryRun: *dry}, uint32(*table), *once || *dry)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fibsync:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, config fib.Config, table uint32, once bool) error {
	f, err := fib.Open(config)
	if err != nil {
		return err
	}
	w := f.Watch(fib.WatchOptions{Writes: true, Buffer: 1 << 20})
	running, end := context.WithCancel(ctx)
	ended, printed := make(chan error, 1), make(chan struct{})
	go func() { ended <- f.Run(running) }()
	synced := make(chan struct{})
	go func() { report(w, synced); close(printed) }()
	select {
	case <-synced: // links have names now
	case err := <-ended:
		end()
		return err
	}
	err = read(os.Stdin, f, table)
	f.Sweep()
	if flushed := f.Flush(ctx); err == nil && once {
		err = flushed
	}
	for _, d := range f.Diff() {
		if config.DryRun {
			fmt.Println(d)
		}
	}
	if !once {
		<-ctx.Done()
	}
	end()
	<-printed
	if e := <-ended; err == nil {
		err = e
	}
	return err
}

// report prints what happens, and closes synced when the kernel has been read.
func report(w *fib.Watcher, synced chan struct{}) {
	out := json.NewEncoder(os.Stdout)
	for {
		events, err := w.Next(context.Background())
		if err != nil {
			return
		}
		for _, e := range events {
			if e.Kind == fib.EventSynced {
				close(synced)
			}
			line := map[string]any{"time": e.Time.Format(time.RFC3339Nano), "event": e.Kind.String()}
			switch e.Kind {
			case fib.EventWrite, fib.EventRepair:
				line["op"], line["key"], line["why"] = e.Op, fmt.Sprint(e.Key), e.Reason
			case fib.EventError:
				line["error"] = e.Err.Error()
			case fib.EventResync, fib.EventLost, fib.EventGatewayDown:
				line["why"] = e.Reason
			default:
				continue
			}
			_ = out.Encode(line)
		}
	}
}

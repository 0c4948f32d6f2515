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
// all is written: `fibsync -table 120 -once < routes.json` in a script.
//
// What carries the protocol number in the table belongs to fibsync. The defaults are
// other numbers than those of hvrouter, so that both can work in one namespace; for two
// fibsyncs in one namespace give each a -protocol of its own.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/fib"
)

func main() {
	table := flag.Uint("table", 203, "routing table `id` to keep equal to the input")
	protocol := flag.Uint("protocol", 203, "`number` (rtm_protocol) of the routes that are ours, 5 to 254; the next one counts as ours, too")
	netns := flag.String("netns", "", "network namespace `path`")
	once := flag.Bool("once", false, "end when the input has ended and everything is written")
	dry := flag.Bool("dry-run", false, "print the differences instead of writing them, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := configure(*netns, *table, *protocol, *dry)
	if err == nil {
		err = run(ctx, config, *once || *dry)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fibsync:", err)
		os.Exit(1)
	}
}

// configure gives each protocol number a range of next-hop ids of its own, below those
// of hvrouter.
func configure(netns string, table, protocol uint, dry bool) (c fib.Config, err error) {
	switch {
	case protocol < 5 || protocol > 254:
		return c, fmt.Errorf("-protocol %d: want 5 to 254", protocol)
	case table < 1 || table > 1<<32-1:
		return c, fmt.Errorf("-table %d: want 1 to 4294967295", table)
	}
	return fib.Config{NetNS: netns, Tables: []uint32{uint32(table)}, DryRun: dry,
		Protocol: uint8(protocol), PersistentProtocol: uint8(protocol) + 1,
		NextHopBase: 0x47000000 + uint32(protocol)<<16, NextHopCount: 1 << 16}, nil
}

func run(ctx context.Context, config fib.Config, once bool) error {
	f, err := fib.New(config)
	if err != nil {
		return err
	}
	w := f.Watch(fib.WatchOptions{Writes: true, Buffer: 1 << 20})
	ctx, end := context.WithCancelCause(ctx)
	synced, ended, printed := make(chan struct{}), make(chan error, 1), make(chan struct{})
	go func() {
		err := f.Run(ctx)
		end(err)
		ended <- err
	}()
	go func() { report(w, synced); close(printed) }()
	done := make(chan error, 1)
	go func() { done <- fill(ctx, f, config, once, synced) }() // reading the input cannot be interrupted
	select {
	case err = <-done:
		if err == nil && !once {
			<-ctx.Done()
		}
	case <-ctx.Done():
	}
	end(nil)
	<-printed
	if e := <-ended; e != nil {
		return e
	}
	return err
}

// fill makes the input desired, and waits until it is written if that is all there is to do.
func fill(ctx context.Context, f *fib.FIB, config fib.Config, once bool, synced <-chan struct{}) error {
	select {
	case <-synced: // interfaces have names now
	case <-ctx.Done():
		return nil
	}
	if err := read(os.Stdin, f, config.Tables[0]); err != nil {
		return err // and nothing is deleted that the rest of the input might have named
	}
	f.Sweep()
	if !once {
		return nil
	}
	err := f.Flush(ctx)
	for _, d := range f.Diff() {
		if config.DryRun {
			fmt.Println(d)
		}
	}
	return err
}

// report prints what happens, and closes synced when the kernel has been read.
func report(w *fib.Watcher, synced chan struct{}) {
	out := json.NewEncoder(os.Stdout)
	for e, err := range w.All(context.Background()) {
		if err != nil {
			return
		}
		if e.Kind == fib.EventSynced {
			close(synced)
		}
		line := map[string]any{"time": e.Time.Format(time.RFC3339Nano), "event": e.Kind.String()}
		switch e.Kind {
		case fib.EventWrite, fib.EventRepair:
			line["op"], line["key"], line["why"] = e.Op, fmt.Sprint(e.Key), e.Reason.String()
			if e.Protocol != 0 {
				line["protocol"] = e.Protocol
			}
		case fib.EventContended:
			line["key"], line["protocol"], line["why"] = fmt.Sprint(e.Key), e.Protocol, "another program undoes each repair: repairs are delayed"
		case fib.EventError:
			line["error"] = e.Err.Error()
		case fib.EventResync, fib.EventLost, fib.EventGatewayDown:
			if e.Reason != fib.ReasonNone {
				line["why"] = e.Reason.String()
			}
		default:
			continue
		}
		_ = out.Encode(line)
	}
}

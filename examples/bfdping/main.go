// Command bfdping watches paths with BFD and prints every change of state as a
// line of JSON.
//
//	bfdping -local 192.0.2.1 -peer 192.0.2.2,192.0.2.3 -interval 50ms -multiplier 3
//	bfdping -sessions pairs.txt -rt
//
// A line of the sessions file is a local and a peer address. Interrupt it, and
// the peers are told that it went on purpose (AdminDown).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

var (
	local      = flag.String("local", "", "our `address`; empty: what the kernel would choose")
	peers      = flag.String("peer", "", "peer `addresses`, separated by commas")
	sessions   = flag.String("sessions", "", "`file` with a local and a peer address a line")
	dev        = flag.String("dev", "", "`interface` to send by")
	interval   = flag.Duration("interval", 100*time.Millisecond, "how often to send and to receive")
	multiplier = flag.Uint("multiplier", 5, "packets that may be lost in a row")
	multihop   = flag.Bool("multihop", false, "multihop sessions, port 4784")
	echo       = flag.Bool("echo", false, "unaffiliated echo: the peer need not speak BFD")
	realtime   = flag.Bool("rt", false, "insist on real-time priority and lock the memory")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bfdping:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	keys, err := keys()
	if err != nil {
		return err
	}
	server, err := bfd.NewServer(config())
	if err != nil {
		return err
	}
	for _, k := range keys {
		k.Interface, k.Multihop = *dev, *multihop
		if err := server.Add(bfd.SessionConfig{Key: k, DesiredMinTx: *interval, RequiredMinRx: *interval, Multiplier: uint8(*multiplier), Echo: *echo}); err != nil {
			return err
		}
	}
	go print(server.Watch())
	return server.Run(ctx)
}

func config() bfd.Config {
	c := bfd.Config{Notice: func(err error) { fmt.Fprintln(os.Stderr, "bfdping:", err) }}
	if *realtime {
		c.RealTime, c.LockMemory = bfd.RealTimeRequired, true
	}
	return c
}

// keys reads the sessions from the command line or the file.
func keys() (list []bfd.Key, err error) {
	if *sessions == "" && *peers == "" {
		return nil, errors.New("give -peer or -sessions (-h explains)")
	}
	if *sessions == "" {
		for _, p := range strings.Split(*peers, ",") {
			if list, err = add(list, *local, p); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	f, err := os.Open(*sessions)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) != 2 {
			return nil, fmt.Errorf("%s: %q is not a local and a peer address", *sessions, lines.Text())
		}
		if list, err = add(list, words[0], words[1]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func add(list []bfd.Key, local, peer string) ([]bfd.Key, error) {
	var k bfd.Key
	var err error
	if local != "" {
		if k.Local, err = netip.ParseAddr(local); err != nil {
			return nil, err
		}
	}
	if k.Peer, err = netip.ParseAddr(peer); err != nil {
		return nil, err
	}
	return append(list, k), nil
}

// line is a change of state as printed.
type line struct {
	Time       string     `json:"time"` // RFC 3339, Section 5.6, nanoseconds
	Local      netip.Addr `json:"local,omitzero"`
	Peer       netip.Addr `json:"peer"`
	State      string     `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	Diag       bfd.Diag   `json:"diag"`
	RemoteDiag bfd.Diag   `json:"remote_diag"`
	Downs      uint64     `json:"downs"`
}

// print writes events until the server ends.
func print(w *bfd.Watcher) {
	out := json.NewEncoder(os.Stdout)
	for e, err := range w.All(context.Background()) {
		if err != nil {
			return
		}
		_ = out.Encode(line{e.Time.Format("2006-01-02T15:04:05.000000000Z07:00"), e.Local, e.Peer, e.State.String(), e.Reason.String(), e.Diag, e.RemoteDiag, e.Downs})
	}
}

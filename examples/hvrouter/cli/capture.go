package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/capture"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// captureTo writes the packets of a peer's BGP and BFD sessions into a file.
func captureTo(in invocation) int {
	fs := in.flags("capture")
	socket := in.api(fs)
	name := fs.String("o", "", "write to `FILE`, in pcapng; - is standard output")
	count := fs.Int("n", 0, "end after `N` packets")
	size := fs.Int64("size", 64, "end before the file is larger than `MIB`, 0: never")
	limit := fs.Duration("for", 10*time.Minute, "end after `TIME`, 0: never")
	port := fs.Uint("port", 179, "TCP `PORT` of BGP, as bgp.port has it")
	words, ok := in.words(fs, 1, 1)
	if !ok {
		return exitUsage
	}
	switch {
	case *name == "":
		return in.fail(exitUsage, errors.New("capture: where to? -o FILE"))
	case *count < 0 || *size < 0 || *limit < 0 || *port == 0 || *port > 65535:
		return in.fail(exitUsage, errors.New("capture: a limit is negative, or the port is none"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	paths, err := peerPaths(ctx, api.NewClient(*socket), words[0])
	if err != nil {
		return in.fail(exitFailed, err)
	}
	file, err := capture.Create(*name)
	if err != nil {
		return in.fail(exitFailed, err)
	}
	for _, p := range paths {
		fmt.Fprintf(in.stderr, "capturing on %s: %v and %v\n", p.Interface, p.Local, p.Peer)
	}
	r, err := capture.Run(ctx, file, paths, uint16(*port), capture.Limits{Packets: *count, Octets: *size << 20, Time: *limit})
	if *name != "-" {
		err = errors.Join(err, file.Close())
	}
	fmt.Fprintf(in.stderr, "%d packets, %d octets", r.Packets, r.Octets)
	if r.Lost > 0 {
		fmt.Fprintf(in.stderr, ", %d packets were lost, since they came too fast", r.Lost)
	}
	if r.Ended != "" {
		fmt.Fprintf(in.stderr, ": %s", r.Ended)
	}
	fmt.Fprintln(in.stderr)
	if err != nil {
		return in.fail(exitFailed, err)
	}
	return exitOK
}

// peerPaths returns where the sessions with a peer are, by its address or, of BGP sessions, their
// name: each interface with its addresses once.
func peerPaths(ctx context.Context, c *api.Client, peer string) (list []capture.Path, err error) {
	var sessions []api.Session
	var probes []api.BFD
	if err := c.Get(ctx, "/v1/sessions", &sessions); err != nil {
		return nil, err
	}
	for _, s := range sessions {
		if s.Peer.String() != peer && s.Name != peer {
			continue
		}
		list = append(list, capture.Path{NetNS: config.NetNS(s.NetNS).Path(), Interface: s.Interface, Local: s.Local, Peer: s.Peer})
	}
	if err := c.Get(ctx, "/v1/bfd", &probes); err == nil { // it may be off
		for _, s := range probes {
			if s.Peer.String() == peer {
				list = append(list, capture.Path{NetNS: config.NetNS(s.NetNS).Path(), Interface: s.Interface, Local: s.Local, Peer: s.Peer})
			}
		}
	}
	var once []capture.Path
	for _, p := range list {
		if !slices.Contains(once, p) {
			once = append(once, p)
		}
	}
	if len(once) == 0 {
		return nil, fmt.Errorf("no BGP or BFD session with %s; `hvrouter show sessions` and `hvrouter show bfd` list them", peer)
	}
	return once, nil
}

package bgp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

// listeners are the listening sockets of a speaker, which guards them.
type listeners struct {
	hub    *eventHub       // where a failure becomes an event
	all    []*listener     // the sockets that are open
	begin  func(*listener) // has one accept connections
	failed []*ListenError  // what of it is not as it should be, nil if all is
	wait   time.Duration   // before the options are set again
	retry  *time.Timer     // runs after wait; nil before the first failure
}

// Waits between attempts to open what could not be opened, most likely since another program has the
// port or the address is not there yet, and to set socket options that the kernel refused, most likely
// for lack of memory. An attempt costs two system calls.
const (
	secureMin = time.Second
	secureMax = 10 * time.Second
)

// open opens the sockets and sets their options, or opens none.
func (l *listeners) open(ctx context.Context, c *Config, want func(netip.Addr) demand) error {
	for _, addr := range c.Listen {
		one, err := listen(ctx, c, addr)
		if err != nil {
			l.close()
			return &ListenError{Addr: addr, Since: l.hub.now(), Err: err}
		}
		l.all = append(l.all, one)
	}
	if failed := l.apply(want); failed != nil {
		l.close()
		failed[0].Since = l.hub.now()
		return failed[0]
	}
	return nil
}

// apply sets the options that the peers' configurations ask for.
func (l *listeners) apply(want func(netip.Addr) demand) (failed []*ListenError) {
	for _, one := range l.all {
		failed = append(failed, one.apply(want(one.addr.Addr()))...)
	}
	return failed
}

// follow opens the sockets that peers want besides those of the configuration, and closes those
// that they want no more.
func (l *listeners) follow(ctx context.Context, c *Config, want []netip.AddrPort) (failed []*ListenError) {
	l.all = slices.DeleteFunc(l.all, func(one *listener) bool {
		gone := one.peers && !slices.Contains(want, one.addr)
		if gone {
			one.nl.Close()
		}
		return gone
	})
	for _, addr := range want {
		if slices.ContainsFunc(l.all, func(one *listener) bool { return one.addr == addr }) {
			continue
		}
		one, err := listen(ctx, c, addr)
		if err != nil {
			failed = append(failed, &ListenError{Addr: addr, Err: err})
			continue
		}
		one.peers = true
		l.all = append(l.all, one)
		l.begin(one)
	}
	return failed
}

// secure brings the sockets of a running speaker to what its peers want: an error becomes an event,
// and again is called later. A peer whose key is missing is not let in meanwhile.
func (l *listeners) secure(ctx context.Context, c *Config, t *peerTable, again func()) {
	failed := append(l.follow(ctx, c, t.listen()), l.apply(t.demand)...)
	l.stopRetry()
	now := l.hub.now()
	for _, e := range failed {
		e.Since = now
		if i := slices.IndexFunc(l.failed, func(o *ListenError) bool { return o.Addr == e.Addr && o.Peers == e.Peers }); i >= 0 {
			e.Since = l.failed[i].Since
		}
	}
	if err := join(failed); text(err) != text(join(l.failed)) {
		l.hub.publish(Event{Kind: EventListen, Time: now, Err: err})
	}
	if l.failed = failed; failed == nil {
		l.wait = 0
		return
	}
	l.wait = min(max(2*l.wait, secureMin), secureMax)
	l.retry = time.AfterFunc(l.wait, again)
}

// failure returns why a peer cannot connect to us, nil if it can.
func (l *listeners) failure(t *peerTable, c *PeerConfig) *ListenError {
	own, wants := t.listenFor(c)
	for _, e := range l.failed {
		if e.open || e.Peers.IsValid() && !e.Peers.Contains(c.Addr.WithZone("")) {
			continue
		}
		ofAll := slices.Contains(t.cfg.Listen, e.Addr) && reaches(c.Addr, c.LocalAddr, e.Addr.Addr())
		if ofAll || wants && own == e.Addr {
			return e
		}
	}
	return nil
}

// join returns errors as one, nil for none.
func join(list []*ListenError) error {
	all := make([]error, len(list))
	for i, e := range list {
		all[i] = e
	}
	return errors.Join(all...)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// serve accepts connections, in goroutines that end after close.
func (l *listeners) serve(start func(func()), admit func(l *listener, nc net.Conn, release func())) {
	l.begin = func(one *listener) {
		start(func() { one.serve(func(nc net.Conn, release func()) { admit(one, nc, release) }) })
	}
	for _, one := range l.all {
		l.begin(one)
	}
}

// close closes the sockets.
func (l *listeners) close() {
	for _, one := range l.all {
		one.nl.Close()
	}
	l.all, l.failed = nil, nil
	l.stopRetry()
}

func (l *listeners) stopRetry() {
	if l.retry != nil {
		l.retry.Stop()
	}
}

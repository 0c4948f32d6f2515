package bgp

import (
	"context"
	"errors"
	"fmt"
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
	failed error           // why their options are not as they should be, nil if they are
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
			return err
		}
		l.all = append(l.all, one)
	}
	if err := l.apply(want); err != nil {
		l.close()
		return err
	}
	return nil
}

// apply sets the options that the peers' configurations ask for.
func (l *listeners) apply(want func(netip.Addr) demand) (err error) {
	for _, one := range l.all {
		err = errors.Join(err, one.apply(want(one.addr.Addr())))
	}
	return err
}

// follow opens the sockets that peers want besides those of the configuration, and closes those
// that they want no more.
func (l *listeners) follow(ctx context.Context, c *Config, want []netip.AddrPort) (err error) {
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
		one, e := listen(ctx, c, addr)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("bgp: listen at %v: %w", addr, e))
			continue
		}
		one.peers = true
		l.all = append(l.all, one)
		l.begin(one)
	}
	return err
}

// secure brings the sockets of a running speaker to what its peers want: an error becomes an event,
// and again is called later. A peer whose key is missing is not let in meanwhile.
func (l *listeners) secure(ctx context.Context, c *Config, t *peerTable, again func()) {
	err := errors.Join(l.follow(ctx, c, t.listen()), l.apply(t.demand))
	l.stopRetry()
	if text(err) != text(l.failed) {
		l.hub.publish(Event{Kind: EventListen, Time: l.hub.now(), Err: err})
	}
	if l.failed = err; err == nil {
		l.wait = 0
		return
	}
	l.wait = min(max(2*l.wait, secureMin), secureMax)
	l.retry = time.AfterFunc(l.wait, again)
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
	l.all = nil
	l.stopRetry()
}

func (l *listeners) stopRetry() {
	if l.retry != nil {
		l.retry.Stop()
	}
}

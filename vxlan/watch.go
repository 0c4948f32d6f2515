package vxlan

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// settle is how long Run waits after a change before it looks, so that a burst of them
// costs one look. Well under the 100 ms in which foreign changes are to be repaired.
const settle = 20 * time.Millisecond

// Run repairs what others change until ctx ends, and then returns nil, or ErrClosed after
// Close. It can be called once: a second call returns ErrRunning. Whenever the
// kernel reports a change of a device's table that this FDB did not make, or says that it
// lost reports, everything is compared again (Reconcile), and report gets the
// outcome if something was written or went wrong. report is called from Run's own
// goroutine.
//
// Ten repairs of one entry in a row come at once; then they wait 100 ms, 200 ms and so on
// up to 30 s, and report gets an [Error] with [ErrContended], once. The same delays lie
// between attempts to write what the kernel refuses, or what an entry of another program
// is in the way of. A row ends when there was nothing to repair for 10 s at least.
func (f *FDB) Run(ctx context.Context, report func(Result, error)) error {
	if err := f.usable(); err != nil {
		return err
	}
	if f.began.Swap(true) {
		return ErrRunning
	}
	conn, err := f.open(f.netns, rtnl.RTNLGRP_NEIGH)
	if err != nil {
		return err
	}
	look, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- f.listen(conn, look) }()
	for {
		timer, stop := f.nextRepair()
		select {
		case <-ctx.Done():
		case <-f.closed:
		case err := <-ended:
			stop()
			conn.Close()
			return err
		case <-look:
			select {
			case <-ctx.Done():
			case <-f.closed:
			case <-time.After(settle):
			}
		case <-timer:
		}
		stop()
		if closed := f.usable(); ctx.Err() != nil || closed != nil {
			conn.Close()
			<-ended
			if ctx.Err() != nil {
				closed = nil
			}
			return closed
		}
		if r, err := f.reconcile(true); r.Writes() > 0 || err != nil {
			report(r, err)
		}
	}
}

// nextRepair fires when a delayed repair may be made; never if there is none.
func (f *FDB) nextRepair() (fire <-chan time.Time, stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.brakes.Trim(now)
	var next time.Time
	for _, b := range f.brakes {
		if b.Next.After(now) && (next.IsZero() || b.Next.Before(next)) {
			next = b.Next
		}
	}
	if next.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(next.Sub(now))
	return t.C, func() { t.Stop() }
}

// listen asks for a look when there is news, until the socket is closed.
func (f *FDB) listen(conn socket, look chan<- struct{}) error {
	buffer := make([]byte, rtnl.DatagramSize)
	for {
		n, err := conn.Receive(buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if err := conn.Wait(); err != nil {
				return err
			}
			continue
		case errors.Is(err, unix.ENOBUFS): // some were lost
		case err != nil:
			return err
		case !f.news(buffer[:n]):
			continue
		}
		select {
		case look <- struct{}{}:
		default: // it is to come already
		}
	}
}

// news reports whether one of the notifications in a datagram is about an entry that is
// not as we want it.
func (f *FDB) news(datagram []byte) bool {
	for m := range rtnl.Messages(datagram) {
		if d, ok := parseEntry(m.Body); ok && f.surprising(d, m.Type == rtnl.RTM_DELNEIGH) {
			return true
		}
	}
	return false
}

// surprising reports whether a change of d contradicts what we want, and may be repaired
// now.
func (f *FDB) surprising(d dumped, gone bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	dev := f.devices[d.IfIndex]
	if dev == nil || !dev.read || !f.brakes[keyOf(d.Entry)].Ready(time.Now()) {
		return false
	}
	if d.MAC.IsZero() {
		_, wanted := dev.want.flood[d.VTEP]
		return wanted && gone
	}
	w, wanted := dev.want.macs[d.MAC]
	if gone {
		return wanted && w.vtep == d.VTEP
	}
	return wanted && w.vtep != d.VTEP
}

package vxlan

import (
	"context"
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// settle is how long Run waits after a change before it looks, so that a burst of them
// costs one look. Well under the 100 ms in which foreign changes are to be repaired.
const settle = 20 * time.Millisecond

// Run repairs what others change until ctx ends, and then returns nil: whenever the
// kernel reports a change of a device's table that this FDB did not make, or says that it
// lost reports, everything is compared again (Reconcile), and report gets the
// outcome if something was written or went wrong. report is called from Run's own
// goroutine. A look costs about 5 us an entry, so with tens of thousands of entries
// somebody who changes them all the time keeps a processor busy.
func (f *FDB) Run(ctx context.Context, report func(Result, error)) error {
	var conn *netlink.Conn
	err := netns.Do(f.netns, func() (err error) {
		conn, err = netlink.Dial(0, &netlink.Config{Groups: 1 << (unix.RTNLGRP_NEIGH - 1)})
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		news, err := f.news(conn)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !news:
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
		if r, err := f.Reconcile(); r.Writes() > 0 || err != nil {
			report(r, err)
		}
	}
}

// news waits for reports and says whether one of them is about an entry that is not as
// we want it, or some were lost.
func (f *FDB) news(conn *netlink.Conn) (bool, error) {
	msgs, err := conn.Receive()
	if errors.Is(err, unix.ENOBUFS) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, m := range msgs {
		if d, ok := parseEntry(m.Data); ok && f.surprising(d, m.Header.Type == unix.RTM_DELNEIGH) {
			return true, nil
		}
	}
	return false, nil
}

// surprising reports whether a change of d contradicts what we want.
func (f *FDB) surprising(d dumped, gone bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	dev := f.devices[d.Link]
	if dev == nil || !dev.read {
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

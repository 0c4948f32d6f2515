package vxlan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Config says where an [FDB] works. It is passed by value and checked once, in [New]. The zero
// value is complete.
type Config struct {
	// NetNS is the absolute path of the devices' network namespace, for example
	// "/run/netns/red". Empty is the namespace of the process.
	NetNS string
	// Underlay is the absolute path of the network namespace in which the devices' UDP packets
	// travel and which has their local addresses. Empty is NetNS.
	Underlay string
	// AuditRound is how often the tables of devices that were flushed are read again, one after the
	// other. What differs from what is known, and no notification has told, is an [EventDifference], and is
	// repaired as if it had been notified. Reading takes at most a hundredth of the time: a round over
	// large tables takes longer. 0 is 30 s, negative is never.
	AuditRound time.Duration
}

// FDB is the desired state of the forwarding tables of any number of VXLAN devices, and what
// makes the kernel's equal to it. All methods are safe for concurrent use. Run, Ensure,
// RemoveDevice, Flush and Reconcile wait for the kernel, the latter four also for Run to have
// opened its sockets; the others wait for nothing.
type FDB struct {
	config Config
	open   opener // openSocket, or the fake kernel's

	mu    sync.Mutex // guards what follows
	core  core
	began bool // Run was called
	over  bool // Run has ended

	calls  chan *call    // to Run: what is to be done with the kernel
	wake   chan struct{} // capacity 1: the core's deadline may have changed
	closed chan struct{} // closed with over
}

// call is one conversation with the kernel.
type call struct {
	do   func(*owner) error
	done chan error // capacity 1
}

// New checks the config. It opens nothing: what is desired is remembered until Run is there to
// write it.
func New(config Config) (*FDB, error) {
	for _, path := range []string{config.NetNS, config.Underlay} {
		if path != "" && !filepath.IsAbs(path) {
			return nil, fmt.Errorf("vxlan: network namespace %q is not an absolute path", path)
		}
	}
	if config.Underlay == config.NetNS {
		config.Underlay = ""
	}
	config.AuditRound = max(cmp.Or(config.AuditRound, 30*time.Second), 0)
	return &FDB{config: config, open: openSocket, core: newCore(config.AuditRound),
		calls: make(chan *call), wake: make(chan struct{}, 1), closed: make(chan struct{})}, nil
}

// Run opens its sockets, which needs CAP_NET_ADMIN, does what Ensure, RemoveDevice, Flush and
// Reconcile ask for, and repairs what other programs change in the devices that were flushed,
// until the context ends. Then it leaves everything in the kernel as it is, leaves no
// goroutine, closes the sockets and returns nil; or it returns the error that made going on
// impossible. Run can be called once: a second call returns ErrRunning, or ErrClosed when the
// first has returned.
//
// When the kernel reports a change of a device's table that contradicts what is desired, or
// says that it lost reports, the table is compared again (see [FDB.Reconcile]) within 20 ms.
// Ten repairs of one entry in a row come at once; then they wait 100 ms, 200 ms and so on up to
// 30 s. The same delays lie between attempts to write what the kernel refuses, or what an
// entry of another program is in the way of. A row ends when there was nothing to repair
// for twice the last wait, and 10 s at least. What the kernel does not report is found by reading
// the tables again (see [Config].AuditRound).
func (f *FDB) Run(ctx context.Context) error {
	f.mu.Lock()
	over, began := f.over, f.began
	f.began = true
	f.mu.Unlock()
	switch {
	case over:
		return ErrClosed
	case began:
		return ErrRunning
	}
	defer f.end()
	o, err := newOwner(f)
	if err != nil {
		return err
	}
	return o.live(ctx)
}

// end makes everything else return ErrClosed.
func (f *FDB) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	close(f.closed)
	for _, r := range f.core.readers {
		r.close()
	}
}

// do has Run do something with the kernel.
func (f *FDB) do(ctx context.Context, do func(*owner) error) error {
	select {
	case <-f.closed:
		return ErrClosed // also if ctx has ended
	default:
	}
	c := &call{do, make(chan error, 1)}
	select {
	case f.calls <- c:
		return <-c.done
	case <-ctx.Done():
		return ctx.Err()
	case <-f.closed:
		return ErrClosed
	}
}

// desire changes what is desired, unless the FDB has ended.
func (f *FDB) desire(ifindex int, change func(*core) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.over:
		return ErrClosed
	case ifindex <= 0:
		return invalid(Entry{IfIndex: ifindex}, "interface index %d is not positive", ifindex)
	}
	return change(&f.core)
}

func invalid(e Entry, format string, args ...any) error {
	return &Error{Op: "set", Entry: e, Err: fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))}
}

// SetFlood makes vteps the flood list of a device: each gets a copy of broadcast, unknown
// and multicast frames. The error is an *[Error] with [ErrInvalid], and nothing has changed, or
// ErrClosed; what the kernel says is returned by Flush and reported by a [Watcher].
func (f *FDB) SetFlood(ifindex int, vteps []netip.Addr) error {
	next := make(map[netip.Addr]origin, len(vteps))
	for _, v := range vteps {
		if !v.IsValid() {
			return invalid(Entry{IfIndex: ifindex}, "the flood list has an address that is none")
		}
		next[v.Unmap()] = ours
	}
	return f.desire(ifindex, func(c *core) error { c.setFlood(ifindex, next); return nil })
}

// SetMAC sends frames for mac, a unicast address, to vtep. The error is as with SetFlood.
func (f *FDB) SetMAC(ifindex int, mac MAC, vtep netip.Addr) error {
	switch vtep = vtep.Unmap(); {
	case !mac.IsUnicast():
		return invalid(Entry{ifindex, mac, vtep}, "the MAC is not unicast")
	case !vtep.IsValid():
		return invalid(Entry{ifindex, mac, vtep}, "no VTEP")
	}
	return f.desire(ifindex, func(c *core) error { c.setMAC(ifindex, mac, vtep); return nil })
}

// DeleteMAC takes SetMAC back. It is no error if it was not set.
func (f *FDB) DeleteMAC(ifindex int, mac MAC) error {
	return f.desire(ifindex, func(c *core) error { c.deleteMAC(ifindex, mac); return nil })
}

// Forget drops everything that is desired on a device without touching the kernel: the device
// is gone, or another program's from now on.
func (f *FDB) Forget(ifindex int) error {
	return f.desire(ifindex, func(c *core) error { c.forget(ifindex); return nil })
}

// Entries returns what is desired on a device, in order, the flood list first.
func (f *FDB) Entries(ifindex int) []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.core.devices[ifindex]
	if d == nil {
		return nil
	}
	none := newTable()
	writes, _ := diff(ifindex, &d.want, &none)
	out := make([]Entry, len(writes))
	for i, w := range writes {
		out[i] = w.Entry
	}
	return out
}

// Flush writes what has changed since the last Flush, in batches. A device that was
// never compared with the kernel is reconciled. Every entry that could not be
// written is an *[Error] within the error returned (errors.Join); Run tries it again, and so
// does the next Reconcile. Flush also returns ctx's error, before it has begun, or ErrClosed.
func (f *FDB) Flush(ctx context.Context) (r Result, err error) {
	err = f.do(ctx, func(o *owner) (err error) { r, err = o.each((*owner).flush); return err })
	return r, err
}

// Reconcile reads every device's table and makes it what is desired: missing entries
// are written, those of ours that are not desired are deleted, foreign ones are left
// alone. Without a difference nothing is written. Errors are as with Flush.
func (f *FDB) Reconcile(ctx context.Context) (r Result, err error) {
	err = f.do(ctx, func(o *owner) (err error) {
		r, err = o.each(func(o *owner, ifindex int) (Result, error) { return o.reconcile(ifindex, false) })
		return err
	})
	return r, err
}

// Ensure makes the device d exist as described, up, and returns its interface
// index and whether anything was written. A VXLAN device of that name with another VNI,
// port, TTL, address, learning mode, limit or underlay is removed first, and with it its
// forwarding entries; a device of another kind is left alone, and is an error (ErrForeign).
func (f *FDB) Ensure(ctx context.Context, d Device) (ifindex int, changed bool, err error) {
	if err := d.Check(); err != nil {
		return 0, false, err
	}
	err = f.do(ctx, func(o *owner) (err error) {
		ifindex, changed, err = o.kernel.ensure(&d, o.forget)
		return err
	})
	return ifindex, changed, err
}

// RemoveDevice deletes the VXLAN device name and forgets what was desired on it. It
// is no error if there is none; a device of another kind is left alone (ErrForeign).
func (f *FDB) RemoveDevice(ctx context.Context, name string) error {
	return f.do(ctx, func(o *owner) error { return o.kernel.remove(name, o.forget) })
}

// ended makes ErrClosed of what the closing of the sockets at the end of Run did.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, os.ErrClosed) {
		return ErrClosed
	}
	return err
}

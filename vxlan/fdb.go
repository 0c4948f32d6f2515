package vxlan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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
	// Protocol is the NDA_PROTOCOL of the neighbours that are written: what is extern_learn and carries it on an interface of which
	// neighbours were set is ours. 0 is 201, as package fib's, whose permanent neighbours are told from these.
	Protocol uint8
	// DeferSweep leaves what an earlier process has left and is not desired in the kernel until [FDB.Sweep], so that a
	// restarting control plane can learn again in peace. False: it goes with the first Flush of its interface.
	DeferSweep bool
}

// DefaultProtocol is Config.Protocol if that is zero.
const DefaultProtocol = 201

// FDB is the desired state of the tables of any number of VXLAN devices and of interfaces with neighbours, and what
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
	config.Protocol = cmp.Or(config.Protocol, DefaultProtocol)
	config.AuditRound = max(cmp.Or(config.AuditRound, 30*time.Second), 0)
	return &FDB{config: config, open: openSocket, core: newCore(&config),
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
func (f *FDB) desire(ifindex int, change func(c *core, ifindex int) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.over:
		return ErrClosed
	case ifindex <= 0:
		return invalid(Entry{IfIndex: ifindex}, "interface index %d is not positive", ifindex)
	}
	return change(&f.core, f.core.resolve(ifindex))
}

func invalid(e Entry, format string, args ...any) error {
	return &Error{Op: "set", Entry: e, Err: fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))}
}

// Segment is all that is desired of one VNI.
type Segment struct {
	Device    int                // interface index of the VXLAN device
	Flood     []netip.Addr       // who gets a copy of broadcast, unknown and multicast frames
	MACs      map[MAC]netip.Addr // the VTEP that each unicast MAC is behind
	Interface int                // interface index of the bridge, or of what is routed on it, that has Neighbors; 0: none has
	Neighbors map[netip.Addr]MAC // who has which address; a bridge port with neigh_suppress answers in their place
}

// SetSegment makes s all that is desired on its two interfaces, in the place of what was: the difference
// is written by Flush. s is not kept. The error is as with SetFlood, and nothing has changed.
func (f *FDB) SetSegment(s Segment) error {
	flood, err := floodOf(s.Device, s.Flood)
	if err != nil {
		return err
	}
	for mac, vtep := range s.MACs {
		if err := checkMAC(s.Device, mac, vtep.Unmap()); err != nil {
			return err
		}
	}
	for a, mac := range s.Neighbors {
		if err := checkNeighbor(s.Interface, a.Unmap(), mac); err != nil {
			return err
		}
	}
	if s.Interface < 0 {
		return invalid(Entry{IfIndex: s.Interface, Table: TableNeighbors}, "interface index %d is negative", s.Interface)
	}
	return f.desire(s.Device, func(c *core, device int) error {
		s.Device, s.Interface = device, c.resolve(s.Interface)
		c.setSegment(&s, flood)
		return nil
	})
}

// SetFlood makes vteps the flood list of a device: each gets a copy of broadcast, unknown
// and multicast frames. The error is an *[Error] with [ErrInvalid], and nothing has changed, or
// ErrClosed; what the kernel says is returned by Flush and reported by a [Watcher].
func (f *FDB) SetFlood(ifindex int, vteps []netip.Addr) error {
	next, err := floodOf(ifindex, vteps)
	if err != nil {
		return err
	}
	return f.desire(ifindex, func(c *core, ifindex int) error { c.setFlood(ifindex, next); return nil })
}

func floodOf(ifindex int, vteps []netip.Addr) (map[netip.Addr]origin, error) {
	next := make(map[netip.Addr]origin, len(vteps))
	for _, v := range vteps {
		if !v.IsValid() {
			return nil, invalid(Entry{IfIndex: ifindex}, "the flood list has an address that is none")
		}
		next[v.Unmap()] = ours
	}
	return next, nil
}

// SetMAC sends frames for mac, a unicast address, to vtep. If the device is the port of a bridge, that
// sends them to the device. The error is as with SetFlood.
func (f *FDB) SetMAC(ifindex int, mac MAC, vtep netip.Addr) error {
	vtep = vtep.Unmap()
	if err := checkMAC(ifindex, mac, vtep); err != nil {
		return err
	}
	return f.desire(ifindex, func(c *core, ifindex int) error { c.setMAC(ifindex, mac, vtep); return nil })
}

func checkMAC(ifindex int, mac MAC, vtep netip.Addr) error {
	switch e := (Entry{IfIndex: ifindex, MAC: mac, VTEP: vtep}); {
	case !mac.IsUnicast():
		return invalid(e, "the MAC is not unicast")
	case !vtep.IsValid():
		return invalid(e, "no VTEP")
	}
	return nil
}

// DeleteMAC takes SetMAC back. It is no error if it was not set.
func (f *FDB) DeleteMAC(ifindex int, mac MAC) error {
	return f.desire(ifindex, func(c *core, ifindex int) error { c.deleteMAC(ifindex, mac); return nil })
}

// SetNeighbor says that on an interface, a bridge or one that is routed on it, addr has mac, a unicast address. The
// kernel never asks for it again, and a port of the bridge that has neigh_suppress answers ARP requests and
// neighbour solicitations for addr in its place, if the MAC is behind a VXLAN device. The error is as with SetFlood.
func (f *FDB) SetNeighbor(ifindex int, addr netip.Addr, mac MAC) error {
	addr = addr.Unmap()
	if err := checkNeighbor(ifindex, addr, mac); err != nil {
		return err
	}
	return f.desire(ifindex, func(c *core, ifindex int) error { c.setNeighbor(ifindex, addr, mac); return nil })
}

func checkNeighbor(ifindex int, addr netip.Addr, mac MAC) error {
	switch e := (Entry{IfIndex: ifindex, MAC: mac, Table: TableNeighbors, Addr: addr}); {
	case ifindex <= 0:
		return invalid(e, "interface index %d is not positive", ifindex)
	case !mac.IsUnicast():
		return invalid(e, "the MAC is not unicast")
	case !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "":
		return invalid(e, "the address is not one host's, without a zone")
	}
	return nil
}

// DeleteNeighbor takes SetNeighbor back. It is no error if it was not set.
func (f *FDB) DeleteNeighbor(ifindex int, addr netip.Addr) error {
	return f.desire(ifindex, func(c *core, ifindex int) error { c.deleteNeighbor(ifindex, addr.Unmap()); return nil })
}

// Sweep ends the time after New in which [Config].DeferSweep leaves what is not desired and
// was not deleted by a call: the next Flush deletes it. Later calls do nothing, nor do those without DeferSweep.
func (f *FDB) Sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.core.sweep()
}

// Forget drops everything that is desired on an interface without touching the kernel: the device
// is gone, or another program's from now on.
func (f *FDB) Forget(ifindex int) error {
	return f.desire(ifindex, func(c *core, ifindex int) error { c.forget(ifindex); return nil })
}

// Entries returns what is desired on an interface, in order, the flood list first. What a bridge shall have is
// among it if the device was its port when last seen.
func (f *FDB) Entries(ifindex int) []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	ifindex = f.core.resolve(ifindex)
	d := f.core.devices[ifindex]
	if d == nil {
		return nil
	}
	none := newTable()
	if d.have.bridge != nil {
		none.bridge = map[MAC]place{}
	}
	writes, _ := diff(ifindex, &d.want, &none)
	out := make([]Entry, len(writes))
	for i, w := range writes {
		out[i] = w.Entry
	}
	return out
}

// Foreign returns the destinations in the flood lists of devices that are neither desired nor ours, in order, as they
// were seen last. They are left alone: frames for everybody go there as well. A program that adds one without the mark
// extern_learn takes that from the whole list, so that those that an earlier process has left are among them then.
func (f *FDB) Foreign() (list []Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ifindex := range slices.Sorted(maps.Keys(f.core.devices)) {
		d := f.core.devices[ifindex]
		for _, vtep := range slices.SortedFunc(maps.Keys(d.have.flood), netip.Addr.Compare) {
			if _, wanted := d.want.flood[vtep]; !wanted && d.have.flood[vtep] == foreign {
				list = append(list, Entry{IfIndex: ifindex, VTEP: vtep})
			}
		}
	}
	return list
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

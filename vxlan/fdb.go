package vxlan

import (
	"errors"
	"net/netip"
	"slices"
	"sync"

	"github.com/mdlayher/netlink"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Config says where an FDB works.
type Config struct {
	NetNS string // network namespace by path, for example "/run/netns/red"; empty: the process's own
}

// FDB is the desired state of the forwarding tables of any number of VXLAN devices.
// Set and Delete methods only note what is wanted; [FDB.Flush] writes what changed,
// [FDB.Reconcile] compares everything with the kernel. All methods are safe for
// concurrent use; those that talk to the kernel wait for each other.
type FDB struct {
	netns string
	conn  *netlink.Conn
	io    sync.Mutex // one conversation with the kernel at a time
	w     writer

	mu      sync.Mutex // guards devices
	devices map[int]*device
}

// device is the state of one VXLAN interface.
type device struct {
	want   table
	have   table // what the kernel has, as far as we know
	read   bool  // have has been read from the kernel
	floods map[netip.Addr]struct{}
	macs   map[MAC]struct{} // both: changed since the last Flush
}

// Open connects to the kernel. It needs CAP_NET_ADMIN to write.
func Open(cfg Config) (*FDB, error) {
	f := &FDB{netns: cfg.NetNS, devices: make(map[int]*device)}
	err := netns.Do(cfg.NetNS, func() (err error) {
		f.conn, err = netlink.Dial(0, &netlink.Config{Strict: true})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := f.w.init(f.conn); err != nil {
		f.conn.Close()
		return nil, err
	}
	return f, nil
}

// Close ends the connection. The kernel keeps what was written.
func (f *FDB) Close() error { return f.conn.Close() }

// on returns the state of link; the caller holds mu.
func (f *FDB) on(link int) *device {
	d := f.devices[link]
	if d == nil {
		d = &device{want: newTable(), have: newTable(), floods: make(map[netip.Addr]struct{}), macs: make(map[MAC]struct{})}
		f.devices[link] = d
	}
	return d
}

// SetFlood makes vteps the flood list of link: each gets a copy of broadcast, unknown
// and multicast frames. Invalid addresses are ignored.
func (f *FDB) SetFlood(link int, vteps []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.on(link)
	next := make(map[netip.Addr]owner, len(vteps))
	for _, v := range vteps {
		if v = v.Unmap(); v.IsValid() {
			next[v] = ours
			if _, ok := d.want.flood[v]; !ok {
				d.floods[v] = struct{}{}
			}
		}
	}
	for v := range d.want.flood {
		if _, ok := next[v]; !ok {
			d.floods[v] = struct{}{}
		}
	}
	d.want.flood = next
}

// SetMAC sends frames for mac, a unicast address, to vtep; other addresses are
// ignored.
func (f *FDB) SetMAC(link int, mac MAC, vtep netip.Addr) {
	if vtep = vtep.Unmap(); !mac.IsUnicast() || !vtep.IsValid() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.on(link)
	if d.want.macs[mac].vtep != vtep {
		d.want.macs[mac] = place{vtep, ours}
		d.macs[mac] = struct{}{}
	}
}

// DeleteMAC takes SetMAC back.
func (f *FDB) DeleteMAC(link int, mac MAC) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.on(link)
	if _, ok := d.want.macs[mac]; ok {
		delete(d.want.macs, mac)
		d.macs[mac] = struct{}{}
	}
}

// Forget drops everything wanted on link without touching the kernel: the device is
// gone, or somebody else's from now on.
func (f *FDB) Forget(link int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.devices, link)
}

// Entries returns what is wanted on link, in order, the flood list first.
func (f *FDB) Entries(link int) []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.devices[link]
	if d == nil {
		return nil
	}
	none := newTable()
	writes, _ := diff(link, &d.want, &none)
	out := make([]Entry, len(writes))
	for i, w := range writes {
		out[i] = w.Entry
	}
	return out
}

// Flush writes what has changed since the last Flush, in batches. A device that was
// never compared with the kernel is reconciled. Every entry that could not be
// written is an *Error within the error returned (errors.Join), and is tried again
// by the next Reconcile.
func (f *FDB) Flush() (Result, error) {
	f.io.Lock()
	defer f.io.Unlock()
	var total Result
	var errs []error
	for _, link := range f.links() {
		r, err := f.flushLink(link)
		total.add(r)
		errs = append(errs, err)
	}
	return total, errors.Join(errs...)
}

// Reconcile reads every device's table and makes it what is wanted: missing entries
// are written, those of ours that are not wanted are deleted, foreign ones are left
// alone. Without a difference nothing is written. Errors are as with Flush.
func (f *FDB) Reconcile() (Result, error) {
	f.io.Lock()
	defer f.io.Unlock()
	var total Result
	var errs []error
	for _, link := range f.links() {
		r, err := f.reconcileLink(link)
		total.add(r)
		errs = append(errs, err)
	}
	return total, errors.Join(errs...)
}

func (f *FDB) links() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	links := make([]int, 0, len(f.devices))
	for link := range f.devices {
		links = append(links, link)
	}
	slices.Sort(links)
	return links
}

// flushLink writes the dirty entries of one device. The caller holds io.
func (f *FDB) flushLink(link int) (Result, error) {
	f.mu.Lock()
	d := f.devices[link]
	if d == nil {
		f.mu.Unlock()
		return Result{}, nil
	}
	if !d.read {
		f.mu.Unlock()
		return f.reconcileLink(link)
	}
	writes := make([]write, 0, len(d.floods)+len(d.macs))
	for v := range d.floods {
		writes = append(writes, write{floodOp(&d.want, &d.have, v), Entry{link, MAC{}, v}})
	}
	for mac := range d.macs {
		o, v := macOp(&d.want, &d.have, mac)
		writes = append(writes, write{o, Entry{link, mac, v}})
	}
	clear(d.floods)
	clear(d.macs)
	f.mu.Unlock()
	writes = slices.DeleteFunc(writes, func(w write) bool { return w.op == opNone || w.op == opKeep })
	return f.carryOut(d, writes)
}

// reconcileLink compares one device with the kernel. The caller holds io.
func (f *FDB) reconcileLink(link int) (Result, error) {
	dump, err := f.dump(link)
	if err != nil {
		return Result{}, &Error{Op: "dump", Entry: Entry{Link: link}, Err: err}
	}
	f.mu.Lock()
	d := f.devices[link]
	if d == nil {
		f.mu.Unlock()
		return Result{}, nil
	}
	d.have = merge(dump, &d.have)
	d.read = true
	clear(d.floods)
	clear(d.macs)
	writes, r := diff(link, &d.want, &d.have)
	f.mu.Unlock()
	done, err := f.carryOut(d, writes)
	r.add(done)
	return r, err
}

// merge makes a table of a dump. What this process wrote stays ours even if the
// kernel's mark is gone.
func merge(dump []dumped, before *table) table {
	t := table{flood: make(map[netip.Addr]owner), macs: make(map[MAC]place, len(dump))}
	for _, e := range dump {
		switch {
		case e.MAC.IsZero():
			if e.owner != ours && e.plain && before.flood[e.VTEP] == ours {
				e.owner = ours
			}
			t.flood[e.VTEP] = e.owner
		case e.MAC.IsUnicast():
			if b := before.macs[e.MAC]; e.owner == foreign && e.plain && b.owner == ours && b.vtep == e.VTEP {
				e.owner = ours
			}
			t.macs[e.MAC] = place{e.VTEP, e.owner}
		}
	}
	return t
}

// carryOut writes and notes what succeeded.
func (f *FDB) carryOut(d *device, writes []write) (r Result, err error) {
	var errs []error
	send := writes[:0:0]
	for _, w := range writes {
		if w.op == opBlocked {
			errs = append(errs, &Error{Op: "add", Entry: w.Entry, Err: ErrForeign})
			continue
		}
		send = append(send, w)
	}
	failed, err := f.w.write(send)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, w := range send {
		if e := failed[i]; e != nil {
			errs = append(errs, e)
			continue
		}
		d.have.apply(w)
		switch w.op {
		case opAdd:
			r.Added++
		case opReplace:
			r.Replaced++
		case opDelete:
			r.Deleted++
		}
	}
	return r, errors.Join(append(errs, err)...)
}

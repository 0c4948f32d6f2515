package vxlan

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Config says where an FDB works.
type Config struct {
	NetNS string // network namespace by path, for example "/run/netns/red"; empty: the process's own
	// Underlay is the network namespace, by path, in which the devices' UDP packets
	// travel and which has their local addresses; empty: NetNS.
	Underlay string
}

// FDB is the desired state of the forwarding tables of any number of VXLAN devices.
// Set and Delete methods only note what is wanted; [FDB.Flush] writes what changed,
// [FDB.Reconcile] compares everything with the kernel. All methods are safe for
// concurrent use; those that talk to the kernel wait for each other.
type FDB struct {
	netns    string
	underlay string                                               // empty: netns
	open     func(netns string, groups ...uint32) (socket, error) // openSocket, or the fake kernel's

	began  atomic.Bool   // Run was called
	closed chan struct{} // Close was called
	once   sync.Once     // closes closed

	io     sync.Mutex // one conversation with the kernel at a time; guards what follows
	conn   socket
	writer *rtnl.Writer // on conn
	seq    uint32       // of the last single request
	buffer []byte       // of its answer

	mu      sync.Mutex // guards what follows
	devices map[int]*device
	brakes  brake.Table[entryKey] // of the repairs that Run makes
}

// entryKey is what one entry of a device is about: a MAC, or a destination of the flood
// list.
type entryKey struct {
	link int
	mac  MAC
	vtep netip.Addr // of the flood list only
}

func keyOf(e Entry) entryKey {
	if e.MAC.IsZero() {
		return entryKey{e.IfIndex, e.MAC, e.VTEP}
	}
	return entryKey{link: e.IfIndex, mac: e.MAC}
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
func Open(cfg Config) (*FDB, error) { return newFDB(cfg, openSocket) }

func newFDB(cfg Config, open func(string, ...uint32) (socket, error)) (*FDB, error) {
	conn, err := open(cfg.NetNS)
	if err != nil {
		return nil, err
	}
	return &FDB{closed: make(chan struct{}), netns: cfg.NetNS, underlay: cfg.Underlay, open: open,
		conn: conn, writer: rtnl.NewWriter(conn), seq: firstRequest, buffer: make([]byte, rtnl.DatagramSize),
		devices: make(map[int]*device), brakes: brake.Table[entryKey]{}}, nil
}

// Close ends the connection, and Run. The kernel keeps what was written. What talks to the
// kernel returns ErrClosed afterwards, and a second Close does nothing.
func (f *FDB) Close() (err error) {
	f.once.Do(func() {
		close(f.closed)
		err = f.conn.Close()
	})
	return err
}

// usable returns ErrClosed after Close.
func (f *FDB) usable() error {
	select {
	case <-f.closed:
		return ErrClosed
	default:
		return nil
	}
}

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
func (f *FDB) SetFlood(ifindex int, vteps []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.on(ifindex)
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
func (f *FDB) SetMAC(ifindex int, mac MAC, vtep netip.Addr) {
	if vtep = vtep.Unmap(); !mac.IsUnicast() || !vtep.IsValid() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.on(ifindex)
	if d.want.macs[mac].vtep != vtep {
		d.want.macs[mac] = place{vtep, ours}
		d.macs[mac] = struct{}{}
	}
}

// DeleteMAC takes SetMAC back.
func (f *FDB) DeleteMAC(ifindex int, mac MAC) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.on(ifindex)
	if _, ok := d.want.macs[mac]; ok {
		delete(d.want.macs, mac)
		d.macs[mac] = struct{}{}
	}
}

// Forget drops everything wanted on link without touching the kernel: the device is
// gone, or another program's from now on.
func (f *FDB) Forget(ifindex int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.devices, ifindex)
}

// Entries returns what is wanted on link, in order, the flood list first.
func (f *FDB) Entries(ifindex int) []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.devices[ifindex]
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

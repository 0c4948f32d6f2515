package rib

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Config is the configuration of a [Table]. It is checked by [New].
type Config struct {
	// AS is our autonomous system number. Required.
	AS uint32
	// RouterID is our BGP identifier, an IPv4 address. Required.
	RouterID netip.Addr
	// ClusterID is our cluster when we reflect routes (RFC 4456, Section 7), an IPv4
	// address. Zero means RouterID.
	ClusterID netip.Addr
	// Multipath is the number of paths that a multipath set may have, at most 255. 0
	// means 16; 1 switches multipath off. Their next hops are distinct: of equally good
	// paths with one next hop the first counts, and the first 256 are looked at.
	Multipath int
	// AlwaysCompareMED compares MULTI_EXIT_DISC of paths whatever their neighbouring AS. It
	// makes sense where the neighbouring ASes have agreed on what their values mean.
	AlwaysCompareMED bool
	// Deferred starts the table with the selection of best paths deferred: paths of
	// peers are taken in, but neither watched nor advertised until [Table.Converge]
	// (RFC 4724, Section 4.1). Local paths are never deferred.
	Deferred bool
	// HoldEndOfRIB keeps our End-of-RIB markers back until
	// [Table.InventoryComplete], for a speaker whose local paths come one by one
	// after its start.
	HoldEndOfRIB bool
}

// Table is the Loc-RIB of one routing domain, IPv4 and IPv6 unicast, EVPN and route target constraint, with the
// Adj-RIBs around it. It is safe for concurrent use: one mutex guards it together with
// all its In, Out, Local and Watcher values. Nothing in it blocks, waits or
// sleeps; it knows no clock.
type Table struct {
	mu sync.Mutex // guards what follows, and the fields of all that belongs to the table

	as        uint32 // our AS number
	routerID  uint32 // our BGP Identifier, as a number
	clusterID uint32 // our cluster id, as a number
	multipath int    // as in Config
	allMED    bool   // AlwaysCompareMED
	deferred  bool   // no best path is selected yet (RFC 4724, Section 4.1)
	held      bool   // End-of-RIB waits for the inventory
	members   bool   // that of route target constraint waits for nothing: MembershipsComplete was called

	prefixes
	paths        slab[path]   // by number
	indexes      []*pathIndex // by number, from 1 on
	merge        pathMerge    // scratch
	attrs        attrStore    // attribute sets
	peers        []*In        // by number; peers[localPeer] is the local one
	spare        []uint16     // numbers for new peers
	spareIndexes []uint32     // numbers for new indexes
	readers      []*reader    // groups and watchers
	groups       []*group     // those with a member
	watchers     []*Watcher   // those not closed
	lastWho      uint32       // identity of the newest group
	limits       limits       // constants, unless a test makes them smaller
	scratch      []uint32     // of list.go
	failed       int          // paths with pathFailed
	stale, moved int          // paths with pathStale and pathMoved
	redundant    []uint32     // scratch of dropFailed
	movers       []uint32     // scratch of hideMoved and showMoved
	outNotes     []uint32     // scratch, see noteOuts
	octets       []byte       // scratch for attribute sets
	route        Route        // scratch for policies
	batch        batch        // what is about to be encoded
	chunks       []*chunk     // spare ones
	keyRoom      [256]byte    // see nameKeyed; the longest key
}

// limits are constants that tests make smaller.
type limits struct {
	batch   int // batchOctets
	backlog int // maxBacklog
	list    int // listMax
	depth   int // maxDepth
}

// localPeer is the number of the peer that local paths come from.
const localPeer = 0

// New returns an empty table.
func New(c Config) (*Table, error) {
	if c.AS == 0 {
		return nil, errors.New("rib: config: AS is required")
	}
	if !c.RouterID.Is4() || c.RouterID.IsUnspecified() {
		return nil, fmt.Errorf("rib: config: RouterID %v is not an IPv4 address", c.RouterID)
	}
	if !c.ClusterID.IsValid() {
		c.ClusterID = c.RouterID
	}
	if !c.ClusterID.Is4() {
		return nil, fmt.Errorf("rib: config: ClusterID %v is not an IPv4 address", c.ClusterID)
	}
	if c.Multipath < 0 || c.Multipath > 255 {
		return nil, fmt.Errorf("rib: config: Multipath %d is outside 0 to 255", c.Multipath)
	}
	if c.Multipath == 0 {
		c.Multipath = 16
	}
	t := &Table{as: c.AS, routerID: id32(c.RouterID), clusterID: id32(c.ClusterID),
		multipath: c.Multipath, allMED: c.AlwaysCompareMED, deferred: c.Deferred, held: c.HoldEndOfRIB}
	t.attrs.seed = maphash.MakeSeed()
	for i := range t.keyed {
		t.keyed[i].seed = t.attrs.seed
	}
	t.limits = limits{batch: batchOctets, backlog: maxBacklog, list: listMax, depth: maxDepth}
	t.attrs.own = own{t.as, t.routerID, t.clusterID, t.allMED}
	t.k0, t.k1 = maphash.Bytes(t.attrs.seed, []byte{0}), maphash.Bytes(t.attrs.seed, []byte{1})|1
	t.peers = []*In{{t: t, routerID: t.routerID}}
	t.indexes = []*pathIndex{nil}
	return t, nil
}

// id32 returns an IPv4 address as a number, 0 if it is none.
func id32(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addr32(id uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], id)
	return netip.AddrFrom4(b)
}

// Converge ends the deferral of Config.Deferred: best paths are selected, advertised and
// watched from now on, and End-of-RIB markers may go out. Call it when every peer
// that is waited for has sent End-of-RIB, or the deferral timer fired. It does nothing
// the second time.
func (t *Table) Converge() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.deferred {
		return
	}
	t.deferred = false
	for _, fam := range families {
		for id := t.prefixes.next(fam, 0); id != 0; id = t.prefixes.next(fam, id+1) {
			t.touchAll(id)
		}
	}
	t.release()
}

// Converged reports whether selection is not, or no longer, deferred.
func (t *Table) Converged() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.deferred
}

// InventoryComplete declares that all local paths of the start have been originated, so
// that End-of-RIB markers that Config.HoldEndOfRIB kept back may go out.
func (t *Table) InventoryComplete() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = false
	t.release()
}

// MembershipsComplete declares that all route target memberships have been originated that the peers need of this
// start, and that none that comes from peers goes on to others, as a reflector would have it. End-of-RIB of
// wire.RTConstrain follows them at once then, whatever Config.Deferred and Config.HoldEndOfRIB keep back: a peer may send
// no EVPN routes before it (RFC 4684, Section 6), while we wait for its End-of-RIB of those.
func (t *Table) MembershipsComplete() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.members {
		t.members = true
		t.mark()
	}
}

// release lets End-of-RIB markers and converged events follow what is dirty now.
func (t *Table) release() {
	if t.deferred {
		return
	}
	for _, w := range t.watchers {
		w.converge()
	}
	if !t.held {
		t.mark()
	}
}

// mark lets End-of-RIB markers that are due follow what is dirty now.
func (t *Table) mark() {
	for _, g := range t.groups {
		for _, o := range g.members {
			if o.unmarked != 0 {
				o.eor = eorFresh
			}
			o.wake()
		}
	}
}

// pause lets others have the mutex if the caller has done n pieces of work, and n is a multiple
// of each, or octetsAtOnce of attributes have been made since it was let go last.
func (t *Table) pause(n, each int) {
	if n%each == 0 || t.attrs.made >= octetsAtOnce {
		t.attrs.made = 0
		t.mu.Unlock()
		t.mu.Lock()
	}
}

// families are those that a table holds; a family's number is its place here.
var families = [...]wire.Family{wire.IPv4Unicast, wire.IPv6Unicast, wire.L2VPNEVPN, wire.RTConstrain}

const nFamilies = len(families)

// addPeer finds a number for a peer.
func (t *Table) addPeer(in *In) error {
	if k := len(t.spare); k > 0 {
		in.no, t.spare = t.spare[k-1], t.spare[:k-1]
		t.peers[in.no] = in
		return nil
	}
	if len(t.peers) > 0xffff {
		return errors.New("rib: 65535 peers are the limit")
	}
	in.no = uint16(len(t.peers))
	t.peers = append(t.peers, in)
	return nil
}

func (t *Table) dropReader(r *reader) {
	t.readers = slices.DeleteFunc(t.readers, func(x *reader) bool { return x == r })
}

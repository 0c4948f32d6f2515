package wall

import (
	"errors"
	"fmt"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/hyperfib/hyperfib/internal/netns"
	"golang.org/x/sys/unix"
)

// Wall is the nftables table of one network namespace. It is safe for concurrent
// use.
type Wall struct {
	netns string

	mu      sync.Mutex
	applied *Spec
	spoiled bool     // somebody else has changed the table
	own     []uint32 // netlink ports that changes of ours come from
}

// New makes a wall for the namespace at path; "" is the process's own. It writes
// nothing.
func New(path string) *Wall { return &Wall{netns: path} }

// Apply makes the kernel's table equal to spec, in one transaction: packets see
// the old table or the new one. It does nothing if the last Apply had an equal
// spec, the table is still there, and [Wall.Watch] has seen nobody else change it.
// After an error the old table stands.
func (w *Wall) Apply(spec Spec) error {
	spec = spec.normal()
	w.mu.Lock()
	defer w.mu.Unlock()
	return netns.Do(w.netns, func() error {
		conn, err := nftables.New(nftables.WithSockOptions(w.remember))
		if err != nil {
			return fmt.Errorf("wall: %w", err)
		}
		if w.applied != nil && !w.spoiled && w.applied.equal(spec) && stands(conn, spec.Table) {
			return nil
		}
		build(conn, spec)
		if err := conn.Flush(); err != nil {
			return fmt.Errorf("wall: table %s: %w", spec.Table, err)
		}
		if w.applied != nil && w.applied.Table != spec.Table {
			err = remove(conn, w.applied.Table)
		}
		w.applied, w.spoiled = &spec, false
		return err
	})
}

// Remove takes the table away; a table that is not there is no error.
func (w *Wall) Remove(table string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied = nil
	return netns.Do(w.netns, func() error {
		conn, err := nftables.New(nftables.WithSockOptions(w.remember))
		if err != nil {
			return fmt.Errorf("wall: %w", err)
		}
		return remove(conn, table)
	})
}

// Drops returns how many packets each kind of drop has counted since the table
// was last replaced, for example "guest-to-hypervisor".
func (w *Wall) Drops() (map[string]uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	drops := map[string]uint64{}
	if w.applied == nil {
		return drops, nil
	}
	err := netns.Do(w.netns, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		return count(conn, w.applied.Table, drops)
	})
	if err != nil {
		return nil, fmt.Errorf("wall: %w", err)
	}
	return drops, nil
}

func stands(conn *nftables.Conn, table string) bool {
	_, err := conn.ListTableOfFamily(table, nftables.TableFamilyINet)
	return err == nil
}

// build queues the transaction. A table can only be deleted if it is there, so it
// is added first, which is no error if it is.
func build(conn *nftables.Conn, spec Spec) {
	table := &nftables.Table{Name: spec.Table, Family: nftables.TableFamilyINet}
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	b := &builder{spec: spec, table: table}
	chains := b.chains()
	for _, s := range b.sets {
		addSet(conn, s)
	}
	for _, c := range chains {
		if len(c.rules) > 0 {
			addChain(conn, table, c, spec.LogRate)
		}
	}
}

// elementsPerMessage keeps a message with the elements of a set below the 64 KiB
// that a netlink attribute holds.
const elementsPerMessage = 500

func addSet(conn *nftables.Conn, s set) {
	var elements []nftables.SetElement
	for _, name := range s.names {
		if s.Interval {
			elements = append(elements, interval(name)...)
		} else {
			elements = append(elements, nftables.SetElement{Key: ifname(name)})
		}
	}
	first := min(len(elements), elementsPerMessage)
	conn.AddSet(s.Set, elements[:first])
	for rest := elements[first:]; len(rest) > 0; {
		n := min(len(rest), elementsPerMessage)
		conn.SetAddElements(s.Set, rest[:n])
		rest = rest[n:]
	}
}

func addChain(conn *nftables.Conn, table *nftables.Table, c chain, logRate uint32) {
	kind := c.kind
	if kind == "" {
		kind = nftables.ChainTypeFilter
	}
	policy := nftables.ChainPolicyAccept
	base := conn.AddChain(&nftables.Chain{
		Name: c.name, Table: table, Type: kind, Hooknum: c.hook, Priority: c.priority, Policy: &policy,
	})
	for _, r := range c.rules {
		if r.drop != "" && logRate > 0 {
			conn.AddRule(&nftables.Rule{Table: table, Chain: base, Exprs: r.log(logRate)})
		}
		conn.AddRule(&nftables.Rule{Table: table, Chain: base, Exprs: r.expressions(), UserData: comment(r.drop)})
	}
}

// comment is the name of a drop as `nft list` shows it.
func comment(drop string) []byte {
	if drop == "" {
		return nil
	}
	return userdata.AppendString(nil, userdata.TypeComment, drop)
}

func remove(conn *nftables.Conn, table string) error {
	conn.DelTable(&nftables.Table{Name: table, Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("wall: table %s: %w", table, err)
	}
	return nil
}

// ifname is a name as nftables keeps it: padded to IFNAMSIZ.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

package firewall

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/google/nftables"
	"github.com/hyperfib/hyperfib/internal/netns"
	"golang.org/x/sys/unix"
)

// Firewall is the nftables tables of one network namespace. It is safe for concurrent
// use.
type Firewall struct {
	netns string

	mu           sync.Mutex
	applied      []*table      // as they stand, unless spoiled
	spoiled      bool          // somebody else has changed one
	translations []Translation // of what was applied
	room         int           // of the table of connections, for tests; 0: the kernel says
	own          []uint32      // netlink ports that changes of ours come from
	audited      audited
}

// New makes a firewall for the namespace at path; "" is the process's own. It writes
// nothing.
func New(path string) *Firewall { return &Firewall{netns: path} }

// Apply makes the kernel's tables equal to spec, each in one transaction: packets see
// the old table or the new one. Where only elements of sets differ, as they do when a
// guest comes or goes, it writes those, and counters go on. It does nothing if the last
// Apply had an equal spec, the tables are still there, and [Firewall.Watch] has seen nobody
// else change them. After an error the old table stands.
func (w *Firewall) Apply(spec Spec) error {
	spec = spec.normal()
	tables := build(spec)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.translations = spec.translations()
	old, spoiled := w.applied, w.spoiled
	w.applied, w.spoiled = nil, false
	return netns.Do(w.netns, func() (err error) {
		if spoiled || len(old) == 0 {
			w.beginAnew()
		}
		for _, t := range tables {
			have := named(old, t)
			if spoiled {
				have = nil
			}
			stands, failed := w.write(have, t)
			if stands != nil {
				w.applied = append(w.applied, stands)
			}
			if failed != nil {
				err = errors.Join(err, fmt.Errorf("firewall: table %s %s: %w", familyName(t.Family), t.Name, failed))
			}
		}
		for _, t := range old {
			if named(tables, t) == nil {
				err = errors.Join(err, w.remove(t.Table))
			}
		}
		return err
	})
}

// named returns the table of the same name and family, nil if there is none.
func named(list []*table, t *table) *table {
	for _, o := range list {
		if o.Name == t.Name && o.Family == t.Family {
			return o
		}
	}
	return nil
}

// write makes a table of the kernel, as we last wrote it (nil: not known), what it shall
// be, and returns as what it stands now.
func (w *Firewall) write(have, want *table) (stands *table, err error) {
	conn, err := w.dial()
	if err != nil {
		return have, err
	}
	if have != nil {
		if _, err := conn.ListTableOfFamily(have.Name, have.Family); err != nil {
			have = nil
		}
	}
	if have != nil {
		if reflect.DeepEqual(have, want) {
			return have, nil
		}
		ok, err := have.update(conn, want)
		if err == nil && ok && w.commit(conn) == nil {
			return want, nil
		}
		if conn, err = w.dial(); err != nil { // without what has been queued
			return have, err
		}
	}
	if err := want.replace(conn); err != nil {
		return have, err
	}
	if err := w.commit(conn); err != nil {
		return have, err
	}
	return want, nil
}

func (w *Firewall) dial() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(w.remember))
}

func familyName(f nftables.TableFamily) string {
	return map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyARP: "arp"}[f]
}

// Remove takes the tables of a name away; one that is not there is no error.
func (w *Firewall) Remove(table string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied, w.translations = nil, nil
	return netns.Do(w.netns, func() error {
		return errors.Join(w.remove(&nftables.Table{Name: table, Family: nftables.TableFamilyINet}),
			w.remove(&nftables.Table{Name: table, Family: nftables.TableFamilyARP}))
	})
}

// End takes away what [Firewall.Apply] made, if it did.
func (w *Firewall) End(Spec) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.applied
	w.applied, w.translations = nil, nil
	return netns.Do(w.netns, func() (err error) {
		for _, t := range old {
			err = errors.Join(err, w.remove(t.Table))
		}
		return err
	})
}

// Drops returns how many packets each kind of drop has counted since the table
// was last replaced, for example "guest-to-hypervisor".
func (w *Firewall) Drops() (map[string]uint64, error) {
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
		for _, t := range w.applied {
			if err := count(conn, t.Table, drops); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("firewall: %w", err)
	}
	return drops, nil
}

func (w *Firewall) remove(t *nftables.Table) error {
	conn, err := w.dial()
	if err != nil {
		return fmt.Errorf("firewall: %w", err)
	}
	conn.DelTable(t)
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("firewall: table %s %s: %w", familyName(t.Family), t.Name, err)
	}
	return nil
}

package firewall

import (
	"bytes"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// table is one nftables table as it shall be.
type table struct {
	*nftables.Table
	sets   []*set
	chains []chain
	logs   bool // drops go by way of a chain that logs them
}

// chain is a chain and its rules, in order; without a hook it is one that others jump to.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	rules    []rule
}

// rule is what to match and do. A name makes it a drop that is counted.
type rule struct {
	do   match
	drop string
}

func (c *chain) add(parts ...match) { c.rules = append(c.rules, rule{do: join(parts...)}) }

func (c *chain) drop(name string, parts ...match) {
	c.rules = append(c.rules, rule{do: join(parts...), drop: name})
}

// leave drops what the kernel shall not hear, since the daemon does: it is counted, too,
// but nothing that anybody would want in a log.
func (c *chain) leave(parts ...match) {
	c.rules = append(c.rules, rule{do: join(parts...), drop: leftToDaemon})
}

const leftToDaemon = "left-to-daemon"

// expressions completes a drop with its counter, and its log entry if there are any.
func (r rule) expressions(logged bool) []expr.Any {
	if r.drop == "" {
		return r.do
	}
	end := &expr.Verdict{Kind: expr.VerdictDrop}
	if logged && r.drop != leftToDaemon {
		end = &expr.Verdict{Kind: expr.VerdictGoto, Chain: logChain(r.drop)}
	}
	return join(r.do, match{&expr.Counter{}, end})
}

func logChain(drop string) string { return "log-" + drop }

// logged adds chains that log what is dropped, and drop it; each kind at a rate of its own.
func (t *table) logged(perSecond uint32) {
	t.logs = perSecond > 0
	if !t.logs {
		return
	}
	var drops []string
	for _, c := range t.chains {
		for _, r := range c.rules {
			if r.drop != "" && r.drop != leftToDaemon && !slices.Contains(drops, r.drop) {
				drops = append(drops, r.drop)
			}
		}
	}
	for _, drop := range drops {
		c := chain{name: logChain(drop)}
		c.add(match{
			&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(perSecond), Unit: expr.LimitTimeSecond, Burst: perSecond},
			&expr.Log{
				Key:   1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_LEVEL,
				Level: expr.LogLevelInfo, Data: []byte("hvrouter " + drop + ": "),
			},
		})
		c.add(match{&expr.Verdict{Kind: expr.VerdictDrop}})
		t.chains = append(t.chains, c)
	}
}

// comment is the name of a drop as `nft list` shows it.
func comment(drop string) []byte {
	if drop == "" {
		return nil
	}
	return userdata.AppendString(nil, userdata.TypeComment, drop)
}

// replace queues the whole table. A table can only be deleted if it is there, so it is
// added first, which is no error if it is.
func (t *table) replace(conn *nftables.Conn) error {
	conn.AddTable(t.Table)
	conn.DelTable(t.Table)
	conn.AddTable(t.Table)
	for _, s := range t.sets {
		elements := s.elements
		if s.seed != nil {
			elements = s.seed.elements(s.Size)
		}
		first := min(len(elements), elementsPerMessage)
		if err := conn.AddSet(s.Set, elements[:first]); err != nil {
			return err
		}
		if err := each(elements[first:], func(part []nftables.SetElement) error { return conn.SetAddElements(s.Set, part) }); err != nil {
			return err
		}
	}
	made := make([]*nftables.Chain, len(t.chains))
	for i, c := range t.chains { // all of them before a rule that jumps to one
		made[i] = t.addChain(conn, c)
	}
	for i, c := range t.chains {
		for _, r := range c.rules {
			conn.AddRule(&nftables.Rule{Table: t.Table, Chain: made[i], Exprs: r.expressions(t.logs), UserData: comment(r.drop)})
		}
	}
	return nil
}

func (t *table) addChain(conn *nftables.Conn, c chain) *nftables.Chain {
	if c.hook == nil {
		return conn.AddChain(&nftables.Chain{Name: c.name, Table: t.Table})
	}
	if c.kind == "" {
		c.kind = nftables.ChainTypeFilter
	}
	policy := nftables.ChainPolicyAccept
	return conn.AddChain(&nftables.Chain{Name: c.name, Table: t.Table, Type: c.kind, Hooknum: c.hook, Priority: c.priority, Policy: &policy})
}

// updatable reports whether only elements of sets differ between two tables, so that one can be
// made of the other in place.
func (t *table) updatable(next *table) bool {
	if t.logs != next.logs || !reflect.DeepEqual(t.Table, next.Table) || !reflect.DeepEqual(t.chains, next.chains) || len(t.sets) != len(next.sets) {
		return false
	}
	for i, s := range t.sets {
		if !reflect.DeepEqual(s.Set, next.sets[i].Set) || s.Anonymous && !reflect.DeepEqual(s.elements, next.sets[i].elements) {
			return false
		}
		if s.Interval && !reflect.DeepEqual(s.elements, next.sets[i].elements) {
			return false // both ends of an interval are elements: rare enough
		}
	}
	return true
}

// update queues what makes the table next of t, if only elements of sets differ: the
// counters go on then. It reports whether it could.
func (t *table) update(conn *nftables.Conn, next *table) (ok bool, err error) {
	if !t.updatable(next) {
		return false, nil
	}
	for i, s := range t.sets {
		if err := s.update(conn, next.sets[i].elements); err != nil {
			return false, err
		}
	}
	return true, nil
}

// update queues the difference between the elements of a set and those that it shall
// have; deletions come first, since intervals must not overlap.
func (s *set) update(conn *nftables.Conn, want []nftables.SetElement) error {
	have := make(map[string]nftables.SetElement, len(s.elements))
	for _, e := range s.elements {
		have[identity(e)] = e
	}
	var added, gone []nftables.SetElement
	for _, e := range want {
		if _, ok := have[identity(e)]; !ok {
			added = append(added, e)
		}
		delete(have, identity(e))
	}
	for _, e := range s.elements {
		if _, ok := have[identity(e)]; ok {
			gone = append(gone, e)
		}
	}
	if err := each(gone, func(part []nftables.SetElement) error { return conn.SetDeleteElements(s.Set, part) }); err != nil {
		return err
	}
	return each(added, func(part []nftables.SetElement) error { return conn.SetAddElements(s.Set, part) })
}

func identity(e nftables.SetElement) string {
	return string(bytes.Join([][]byte{e.Key, e.Val}, []byte{'|'}))
}

// elementsPerMessage keeps a message with the elements of a set below the 64 KiB
// that a netlink attribute holds: the longest takes some 150 octets.
const elementsPerMessage = 300

func each(elements []nftables.SetElement, do func([]nftables.SetElement) error) error {
	for part := range slices.Chunk(elements, elementsPerMessage) {
		if err := do(part); err != nil {
			return err
		}
	}
	return nil
}

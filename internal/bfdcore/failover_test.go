package bfdcore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// objects is a kernel with next-hop objects, as Linux treats them: an object that is
// deleted leaves its groups, and a group without members is deleted.
type objects struct {
	all  map[uint32]NextHop
	fail string // this call fails
	f    Failover
}

func newObjects() *objects {
	o := &objects{all: map[uint32]NextHop{}}
	o.f = Failover{Kernel: o, Up: map[uint32]bool{}}
	return o
}

func (o *objects) NextHop(id uint32) (NextHop, error) {
	n, ok := o.all[id]
	if !ok {
		return n, ErrNoNextHop
	}
	return n, o.failed("get")
}

func (o *objects) failed(call string) error {
	if o.fail == call {
		return errors.New(call + " refused")
	}
	return nil
}

func (o *objects) Groups() (list []NextHop, err error) {
	for _, id := range slices.Sorted(maps.Keys(o.all)) {
		if n := o.all[id]; n.Group != nil {
			list = append(list, n)
		}
	}
	return list, o.failed("groups")
}

func (o *objects) Delete(id uint32) error {
	if err := o.failed("delete"); err != nil {
		return err
	}
	delete(o.all, id)
	for g, n := range o.all {
		if n.Group = n.without(id); n.Group != nil && len(n.Group) == 0 {
			delete(o.all, g)
		} else {
			o.all[g] = n
		}
	}
	return nil
}

func (o *objects) Replace(g NextHop) error {
	if err := o.failed("replace"); err != nil {
		return err
	}
	o.all[g.ID] = g
	return nil
}

// gateway is the gateway of object n.
func gateway(n uint32) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }

// Do implements [scenario.Machine].
func (o *objects) Do(_ time.Time, words []string) (out []string, err error) {
	if len(words) == 0 {
		return nil, nil
	}
	var ids []uint32
	for _, w := range words[1:] {
		if n, err := strconv.ParseUint(w, 10, 32); err == nil {
			ids = append(ids, uint32(n))
		}
	}
	flag := func(w string) bool { return slices.Contains(words, w) }
	switch words[0] {
	case "object":
		n := NextHop{ID: ids[0], Link: 7, Gateway: gateway(ids[0])}
		if flag("elsewhere") {
			n.Link = 8
		}
		if flag("other") {
			n.Gateway = gateway(99)
		}
		o.all[n.ID] = n
	case "group":
		g := NextHop{ID: ids[0], Proto: 201, Group: []Member{}}
		for _, id := range ids[1:] {
			g.Group = append(g.Group, Member{ID: id, Weight: uint16(id)})
		}
		if flag("resilient") {
			g.Kind = 1
		}
		o.all[g.ID] = g
	case "up", "down":
		o.f.Up[ids[0]] = words[0] == "up"
	case "fail":
		o.fail = words[1]
	case "begin":
		if err := o.f.Begin(); err != nil {
			return []string{err.Error()}, nil
		}
		return nil, nil
	case "delete":
		err := o.f.Delete(DeadNextHop{ID: ids[0], Link: 7, Gateway: gateway(ids[0]), Strict: flag("strict"), Guarded: !flag("unguarded")})
		if err != nil {
			out = append(out, err.Error())
		}
		return append(out, o.state()), nil
	default:
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	return nil, nil
}

func (o *objects) state() string {
	var list []string
	for _, id := range slices.Sorted(maps.Keys(o.all)) {
		text := fmt.Sprint(id)
		if n := o.all[id]; n.Group != nil {
			members := make([]string, len(n.Group))
			for i, m := range n.Group {
				members[i] = fmt.Sprint(m.ID)
			}
			text += "(" + strings.Join(members, " ") + ")"
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

func TestFailover(t *testing.T) {
	scenario.Files(t, "testdata/failover/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, newObjects())
	})
}

// TestFailoverSearch: whatever there is and whatever dies, a group never loses its last
// member that is not known to be dead, no object goes that a session still watches, none
// that is another one than was meant, and nothing but what was to be deleted leaves a group.
func TestFailoverSearch(t *testing.T) {
	scenario.Search{
		Seeds: 500,
		Inputs: func(r *rand.Rand) (inputs []string) {
			word := func(p int, w string) string {
				if r.IntN(p) == 0 {
					return " " + w
				}
				return ""
			}
			for id := range 1 + r.IntN(6) {
				inputs = append(inputs, fmt.Sprintf("object %d%s%s", id+1, word(12, "elsewhere"), word(12, "other")))
				if r.IntN(3) > 0 {
					inputs = append(inputs, fmt.Sprintf("%s %d", []string{"up", "down"}[r.IntN(2)], id+1))
				}
			}
			for id := range r.IntN(4) {
				g := fmt.Sprintf("group %d", 100+id)
				for _, m := range r.Perm(6)[:1+r.IntN(5)] {
					g += fmt.Sprintf(" %d", m+1)
				}
				inputs = append(inputs, g+word(8, "resilient"))
			}
			inputs = append(inputs, "begin")
			for range 1 + r.IntN(4) {
				inputs = append(inputs, fmt.Sprintf("delete %d%s%s", 1+r.IntN(7), word(2, "strict"), word(5, "unguarded")))
			}
			return inputs
		},
		Play: func(t *testing.T, inputs []string) error {
			o := newObjects()
			for _, input := range inputs {
				before := maps.Clone(o.all)
				if _, err := o.Do(time.Time{}, strings.Fields(input)); err != nil {
					return err
				}
				if strings.HasPrefix(input, "delete") {
					if err := o.harm(input, before); err != nil {
						return fmt.Errorf("%q: %w", input, err)
					}
				}
			}
			return nil
		},
	}.Run(t)
}

// harm says what a deletion broke.
func (o *objects) harm(input string, before map[uint32]NextHop) error {
	var id uint32
	_, _ = fmt.Sscanf(input, "delete %d", &id)
	strict := strings.Contains(input, "strict")
	touched := false
	for g, was := range before {
		now, there := o.all[g]
		if was.Group == nil {
			if !there && g != id {
				return fmt.Errorf("object %d is gone", g)
			}
			touched = touched || !there
			continue
		}
		if !there || !slices.Equal(now.Group, was.Group) {
			touched = true
			if !there || !slices.Equal(now.Group, was.without(id)) || now.Proto != was.Proto || now.Kind != was.Kind {
				return fmt.Errorf("group %d was %v, is %v", g, was, now)
			}
			if !slices.ContainsFunc(now.Group, func(m Member) bool { up, watched := o.f.Up[m.ID]; return up || !watched && !strict }) {
				return fmt.Errorf("group %d has no living member", g)
			}
		}
	}
	meant := before[id].Link == 7 && before[id].Gateway == gateway(id)
	if touched && (!meant || o.f.Up[id] || strings.Contains(input, "unguarded")) {
		return errors.New("was not to be touched")
	}
	return nil
}

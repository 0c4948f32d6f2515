package firewall

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// picture is what a table consists of, by the name of the part, "chain input", each in a form in
// which what is written and what the kernel shows of it are equal: without counters, handles, and
// what packets or [Firewall.Balance] put into sets. It is made of netlink messages, of those
// that make the table and of those of a dump alike: so it has every expression of a rule, also those
// that no library knows. nil is no table.
type picture map[string]string

// Attributes that [unix] does not have (the kernel's include/uapi/linux/netfilter/nf_tables.h).
const (
	chainFlags        = 10 // NFTA_CHAIN_FLAGS
	chainBase         = 1  // NFT_CHAIN_BASE, which the kernel sets by itself
	natGiven          = 3  // NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED, which follow from the registers
	elementKeyEnd     = 10 // NFTA_SET_ELEM_KEY_END
	elementStateful   = 11 // NFTA_SET_ELEM_EXPRESSIONS
	dynsetExpressions = 10 // NFTA_DYNSET_EXPRESSIONS
)

// painter makes a picture.
type painter struct {
	picture   picture
	volatile  map[string]bool // sets whose elements are no part of what was applied
	anonymous map[string]bool
	elements  map[string][]string
	rules     map[string][]rawRule // by chain
}

// rawRule is a rule whose sets are not known yet.
type rawRule struct {
	comment     []byte
	expressions [][]byte
}

func newPainter() *painter {
	return &painter{picture: picture{}, volatile: map[string]bool{}, anonymous: map[string]bool{}, elements: map[string][]string{}, rules: map[string][]rawRule{}}
}

// wanted returns the picture of a table as it shall be.
func (t *table) wanted() (picture, error) {
	p := newPainter()
	conn, err := nftables.New(nftables.WithTestDial(func(messages []netlink.Message) (acks []netlink.Message, err error) {
		for _, m := range messages {
			p.add(m)
			if m.Header.Flags&netlink.Acknowledge != 0 {
				acks = append(acks, netlink.Message{Header: netlink.Header{Type: netlink.Error, Sequence: m.Header.Sequence}, Data: make([]byte, 4)})
			}
		}
		return acks, nil
	}))
	if err != nil {
		return nil, err
	}
	if err := t.replace(conn); err != nil {
		return nil, err
	}
	if err := conn.Flush(); err != nil {
		return nil, err
	}
	return p.finish(), nil
}

// reader reads the tables of a namespace.
type reader struct{ conn *netlink.Conn }

func (w *Firewall) reader() (r reader, err error) {
	err = netns.Do(w.netns, func() error {
		r.conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	})
	return r, err
}

// generation returns the number of the ruleset: each transaction of anybody counts it up.
func (r reader) generation() (uint32, error) {
	list, err := r.ask(unix.NFT_MSG_GETGEN, 0, unix.NFPROTO_UNSPEC, nil)
	if err != nil {
		return 0, err
	}
	for _, m := range list {
		if id := attribute(body(m), unix.NFTA_GEN_ID); len(id) == 4 {
			return binary.BigEndian.Uint32(id), nil
		}
	}
	return 0, fmt.Errorf("the kernel does not say which generation its ruleset is")
}

// stands returns the picture of a table as it stands.
func (r reader) stands(t *nftables.Table) (picture, error) {
	p := newPainter()
	name := netlink.Attribute{Type: 1, Data: append([]byte(t.Name), 0)} // in all of these messages
	there := false
	for _, get := range []int{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETSET, unix.NFT_MSG_GETRULE} {
		list, err := r.ask(get, netlink.Dump, byte(t.Family), []netlink.Attribute{name})
		if errors.Is(err, unix.ENOENT) { // as it is known by now, or has just gone
			break
		} else if err != nil {
			return nil, err
		}
		for _, m := range list {
			if !about(m, &table{Table: t}) {
				continue
			}
			there = true
			p.add(m)
			if get != unix.NFT_MSG_GETSET {
				continue
			}
			set := netlink.Attribute{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: attribute(body(m), unix.NFTA_SET_NAME)}
			elements, err := r.ask(unix.NFT_MSG_GETSETELEM, netlink.Dump, byte(t.Family), []netlink.Attribute{name, set})
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return nil, err
			}
			for _, e := range elements {
				p.add(e)
			}
		}
	}
	if !there {
		return nil, nil
	}
	return p.finish(), nil
}

func (r reader) ask(what int, flags netlink.HeaderFlags, family byte, list []netlink.Attribute) ([]netlink.Message, error) {
	b, err := netlink.MarshalAttributes(list)
	if err != nil {
		return nil, err
	}
	return r.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | what), Flags: netlink.Request | flags},
		Data:   append([]byte{family, 0, 0, 0}, b...),
	})
}

// body returns the attributes of a message, behind struct nfgenmsg.
func body(m netlink.Message) []byte { return m.Data[min(4, len(m.Data)):] }

// add takes a message that makes a part of the table, or shows it.
func (p *painter) add(m netlink.Message) {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return // the beginning or the end of a transaction
	}
	b := body(m)
	switch m.Header.Type & 0xff {
	case unix.NFT_MSG_NEWTABLE:
		p.picture["table"] = plain(b, unix.NFTA_TABLE_FLAGS)
	case unix.NFT_MSG_NEWCHAIN:
		flags := attribute(b, chainFlags)
		if len(flags) == 4 {
			flags = binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(flags)&^chainBase)
		}
		hook := plain(attribute(b, unix.NFTA_CHAIN_HOOK))
		p.picture["chain "+text(attribute(b, unix.NFTA_CHAIN_NAME))] = fmt.Sprint(hook, plain(b, unix.NFTA_CHAIN_TYPE, unix.NFTA_CHAIN_POLICY), value(flags))
	case unix.NFT_MSG_NEWRULE:
		r := rawRule{comment: attribute(b, unix.NFTA_RULE_USERDATA)}
		for _, e := range attributes(attribute(b, unix.NFTA_RULE_EXPRESSIONS)) {
			r.expressions = append(r.expressions, e)
		}
		c := text(attribute(b, unix.NFTA_RULE_CHAIN))
		p.rules[c] = append(p.rules[c], r)
	case unix.NFT_MSG_NEWSET:
		p.set(b)
	case unix.NFT_MSG_NEWSETELEM:
		set := reference(attribute(b, unix.NFTA_SET_ELEM_LIST_SET), attribute(b, unix.NFTA_SET_ELEM_LIST_SET_ID))
		for _, e := range attributes(attribute(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			p.elements[set] = append(p.elements[set], element(e))
		}
	}
}

func (p *painter) set(b []byte) {
	name := reference(attribute(b, unix.NFTA_SET_NAME), attribute(b, unix.NFTA_SET_ID))
	flags := uint32(0)
	if f := attribute(b, unix.NFTA_SET_FLAGS); len(f) == 4 {
		flags = binary.BigEndian.Uint32(f)
	}
	p.anonymous[name] = flags&unix.NFT_SET_ANONYMOUS != 0
	p.volatile[name] = flags&(unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL) != 0
	size := []byte(nil)
	if !p.anonymous[name] { // of those the kernel says how much they have
		size = attribute(attribute(b, unix.NFTA_SET_DESC), unix.NFTA_SET_DESC_SIZE)
	}
	p.picture["set "+name] = fmt.Sprint(plain(b, unix.NFTA_SET_FLAGS, unix.NFTA_SET_KEY_TYPE, unix.NFTA_SET_KEY_LEN, unix.NFTA_SET_DATA_TYPE, unix.NFTA_SET_DATA_LEN,
		unix.NFTA_SET_TIMEOUT), value(size))
}

// reference names a set. Those that stand in a rule have no name until they are made.
func reference(name, id []byte) string {
	if s := text(name); !strings.HasSuffix(s, "%d") {
		return s
	}
	return fmt.Sprintf("#%x", id)
}

// finish completes the picture, once there are no more messages.
func (p *painter) finish() picture {
	for set, list := range p.elements {
		if !p.volatile[set] {
			slices.Sort(list)
			p.picture["set "+set] += strings.Join(list, " ")
		}
	}
	for c, rules := range p.rules {
		var lines []string
		for _, r := range rules {
			line := fmt.Sprintf("%x", r.comment)
			for _, e := range r.expressions {
				line += " " + p.expression(e)
			}
			lines = append(lines, line)
		}
		p.picture["chain "+c] += "\n" + strings.Join(lines, "\n")
	}
	maps.DeleteFunc(p.picture, func(part, _ string) bool {
		set, ok := strings.CutPrefix(part, "set ")
		return ok && p.anonymous[set]
	})
	return p.picture
}

// element returns an element of a set.
func element(b []byte) string {
	out := plain(b, unix.NFTA_SET_ELEM_FLAGS, unix.NFTA_SET_ELEM_TIMEOUT, unix.NFTA_SET_ELEM_OBJREF)
	for _, nested := range []uint16{unix.NFTA_SET_ELEM_KEY, elementKeyEnd, unix.NFTA_SET_ELEM_DATA} {
		out += "," + data(attribute(b, nested))
	}
	for _, stateful := range []uint16{unix.NFTA_SET_ELEM_EXPR, elementStateful} {
		out += value(attribute(b, stateful))
	}
	return out
}

// data returns NFTA_DATA_VALUE, or NFTA_DATA_VERDICT.
func data(b []byte) string {
	return plain(b, unix.NFTA_DATA_VALUE) + plain(attribute(b, unix.NFTA_DATA_VERDICT), unix.NFTA_VERDICT_CODE, unix.NFTA_VERDICT_CHAIN)
}

// expression returns one expression of a rule: its name and its attributes.
func (p *painter) expression(b []byte) string {
	name, d := text(attribute(b, unix.NFTA_EXPR_NAME)), attribute(b, unix.NFTA_EXPR_DATA)
	var out []string
	for kind, v := range attributes(d) {
		s := value(v)
		switch {
		case name == "counter":
			continue
		case name == "lookup" && kind == unix.NFTA_LOOKUP_SET:
			s = p.content(reference(v, attribute(d, unix.NFTA_LOOKUP_SET_ID)))
		case name == "dynset" && kind == unix.NFTA_DYNSET_SET_NAME:
			s = p.content(reference(v, attribute(d, unix.NFTA_DYNSET_SET_ID)))
		case name == "lookup" && kind == unix.NFTA_LOOKUP_SET_ID, name == "dynset" && kind == unix.NFTA_DYNSET_SET_ID:
			continue
		case name == "nat" && kind == unix.NFTA_NAT_REG_ADDR_MAX && bytes.Equal(v, attribute(d, unix.NFTA_NAT_REG_ADDR_MIN)):
			continue // the kernel says what is so without it
		case name == "nat" && kind == unix.NFTA_NAT_FLAGS && len(v) == 4:
			s = value(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(v)&^natGiven))
		case name == "dynset" && kind == unix.NFTA_DYNSET_EXPR:
			s = "(" + p.expression(v) + ")"
		case name == "dynset" && kind == dynsetExpressions:
			s = ""
			for _, e := range attributes(v) {
				s += "(" + p.expression(e) + ")"
			}
		case name == "cmp" && kind == unix.NFTA_CMP_DATA, name == "immediate" && kind == unix.NFTA_IMMEDIATE_DATA,
			name == "bitwise" && (kind == unix.NFTA_BITWISE_MASK || kind == unix.NFTA_BITWISE_XOR):
			s = data(v)
		}
		if s != "" {
			out = append(out, fmt.Sprint(kind, "=", s))
		}
	}
	slices.Sort(out)
	return name + "{" + strings.Join(out, " ") + "}"
}

// content returns what stands for a set in a rule: its name, or what is in it.
func (p *painter) content(set string) string {
	if !p.anonymous[set] {
		return set
	}
	return "[" + p.picture["set "+set] + "]"
}

// plain returns attributes of some kinds, or all if none are given.
func plain(b []byte, kinds ...uint16) string {
	var out []string
	for kind, v := range attributes(b) {
		if s := value(v); s != "" && (len(kinds) == 0 || slices.Contains(kinds, kind)) {
			out = append(out, fmt.Sprint(kind, "=", s))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// value returns the value of an attribute. One that is 0 is as good as none: the kernel shows many
// that need not be given.
func value(b []byte) string {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return ""
	}
	return fmt.Sprintf("%x", b)
}

func text(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }

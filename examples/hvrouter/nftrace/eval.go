package nftrace

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// outcome is what a chain, or a rule, does with a packet.
type outcome uint8

const (
	goesOn outcome = iota
	accepted
	dropped
)

// run evaluates one packet.
type run struct {
	rules  *Ruleset
	fib    fib
	p      *packet
	path   []string // the chains that it went through
	why    string   // the rule that decided
	unsure string
	depth  int
}

// fib answers fib expressions.
type fib interface {
	// addressType returns the type of a route to an address (RTN_*), as seen from a device if it
	// is not 0.
	addressType(p *packet, source bool, ifindex int) uint32
	// routedBack returns the interface that the source is routed over: the packet's own, or 0.
	routedBack(p *packet, mark bool) int
}

// maxDepth is how deep chains may jump (NFT_JUMP_STACK_SIZE).
const maxDepth = 16

// chain evaluates a chain. A chain that is left at its end goes on where it was jumped from.
func (r *run) chain(name string) outcome {
	c := r.rules.Chains[name]
	if c == nil || r.depth == maxDepth {
		return goesOn
	}
	r.depth++
	defer func() { r.depth-- }()
	r.path = append(r.path, name)
	for i, rule := range c.Rules {
		v, matched := r.rule(rule)
		if !matched || v == nil {
			continue
		}
		r.why = fmt.Sprintf("rule %d of chain %s", i+1, name)
		if rule.Comment != "" {
			r.why = fmt.Sprintf("%q, %s", rule.Comment, r.why)
		}
		switch v.Kind {
		case expr.VerdictAccept, expr.VerdictStop:
			return accepted
		case expr.VerdictDrop:
			return dropped
		case expr.VerdictReturn:
			return goesOn
		case expr.VerdictJump:
			if o := r.chain(v.Chain); o != goesOn {
				return o
			}
		case expr.VerdictGoto:
			why := r.why
			o := r.chain(v.Chain)
			if logs(r.rules.Chains[v.Chain]) { // a drop that is logged: the rule counts, not the chain that logs
				r.why = why
			}
			return o
		}
	}
	return goesOn
}

// logs reports whether a chain is one that logs what is dropped.
func logs(c *Chain) bool { return c != nil && len(c.Name) > 4 && c.Name[:4] == "log-" }

// rule evaluates the expressions of a rule; matched is false if one of them does not match. v is
// nil if the rule only does something.
func (r *run) rule(rule Rule) (v *expr.Verdict, matched bool) {
	var regs registers
	for _, e := range rule.Exprs {
		if verdict, ok := e.(*expr.Verdict); ok {
			return verdict, true
		}
		if _, ok := e.(*expr.Reject); ok {
			return &expr.Verdict{Kind: expr.VerdictDrop}, true
		}
		if !r.expression(&regs, e) {
			return nil, false
		}
	}
	return nil, true
}

// registers are the 16 registers of 4 octets, which are also 4 of 16.
type registers [64]byte

// at returns the octets from a register on.
func (g *registers) at(reg uint32) []byte {
	if reg >= unix.NFT_REG32_00 {
		return g[min(4*(reg-unix.NFT_REG32_00), 60):]
	}
	return g[16*min(max(reg, 1)-1, 3):]
}

// load fills a register with a value, padded to 4 octets.
func (g *registers) load(reg uint32, value []byte) bool {
	b := g.at(reg)
	n := copy(b, value)
	for ; n%4 != 0 && n < len(b); n++ {
		b[n] = 0
	}
	return true
}

func (r *run) expression(g *registers, e expr.Any) (matched bool) {
	switch e := e.(type) {
	case *expr.Meta:
		return r.meta(g, e)
	case *expr.Payload:
		return r.payload(g, e)
	case *expr.Cmp:
		return compare(e, g.at(e.Register)[:min(len(e.Data), 64)])
	case *expr.Bitwise:
		b := slices.Clone(g.at(e.SourceRegister)[:e.Len])
		for i := range b {
			b[i] = b[i]&e.Mask[i] ^ e.Xor[i]
		}
		return g.load(e.DestRegister, b)
	case *expr.Immediate:
		return g.load(e.Register, e.Data)
	case *expr.Lookup:
		return r.lookup(g, e)
	case *expr.Dynset:
		return len(e.Exprs) == 0 // what has a rate does not exceed it
	case *expr.Limit:
		return !e.Over
	case *expr.Ct:
		return g.load(e.Register, make([]byte, 4)) // the first of its flow: no status yet
	case *expr.Exthdr:
		return e.Flags&unix.NFT_EXTHDR_F_PRESENT != 0 && g.load(e.DestRegister, []byte{0})
	case *expr.Fib:
		return r.routes(g, e)
	case *expr.Counter, *expr.Log, *expr.Notrack, *expr.NAT:
		return true
	}
	r.unsure = cmp.Or(r.unsure, fmt.Sprintf("an expression %T", e))
	return true
}

func compare(e *expr.Cmp, have []byte) bool {
	c := bytes.Compare(have, e.Data)
	switch e.Op {
	case expr.CmpOpEq:
		return c == 0
	case expr.CmpOpNeq:
		return c != 0
	case expr.CmpOpLt:
		return c < 0
	case expr.CmpOpLte:
		return c <= 0
	case expr.CmpOpGt:
		return c > 0
	}
	return c >= 0
}

// name is the name of an interface as nftables has it.
func name(s string) []byte {
	return append([]byte(s), make([]byte, unix.IFNAMSIZ-min(len(s), unix.IFNAMSIZ))...)
}

func number(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// etherType is ARPHRD_ETHER, as the kernel has it in iif's type.
const etherType = unix.ARPHRD_ETHER

func (r *run) meta(g *registers, e *expr.Meta) bool {
	p := r.p
	if e.SourceRegister {
		if e.Key == expr.MetaKeyMARK {
			p.Mark = binary.NativeEndian.Uint32(g.at(e.Register))
		}
		return true
	}
	switch e.Key {
	case expr.MetaKeyIIFNAME:
		if p.IIF.Index == 0 && p.oif.Index != 0 {
			return false // of output: there is none
		}
		return g.load(e.Register, name(p.IIF.Name))
	case expr.MetaKeyOIFNAME:
		return p.oif.Index != 0 && g.load(e.Register, name(p.oif.Name))
	case expr.MetaKeyIIF:
		return g.load(e.Register, number(uint32(p.IIF.Index)))
	case expr.MetaKeyOIF:
		return p.oif.Index != 0 && g.load(e.Register, number(uint32(p.oif.Index)))
	case expr.MetaKeyNFPROTO:
		return g.load(e.Register, []byte{p.family()})
	case expr.MetaKeyL4PROTO:
		return g.load(e.Register, []byte{p.protocol()})
	case expr.MetaKeyIIFTYPE:
		return g.load(e.Register, binary.NativeEndian.AppendUint16(nil, etherType))
	case expr.MetaKeyMARK:
		return g.load(e.Register, number(p.Mark))
	case metaSDIFNAME:
		return g.load(e.Register, name(p.IIF.Name))
	}
	r.unsure = cmp.Or(r.unsure, fmt.Sprintf("meta key %d", e.Key))
	return true
}

// metaSDIFNAME is NFT_META_SDIFNAME, which golang.org/x/sys/unix lacks.
const metaSDIFNAME = expr.MetaKey(34)

// payload loads octets of a header; a packet that is too short does not match.
func (r *run) payload(g *registers, e *expr.Payload) bool {
	header := map[expr.PayloadBase][]byte{expr.PayloadBaseLLHeader: r.p.link, expr.PayloadBaseNetworkHeader: r.p.network, expr.PayloadBaseTransportHeader: r.p.ip}[e.Base]
	if e.OperationType != expr.PayloadLoad || int(e.Offset+e.Len) > len(header) {
		return false
	}
	return g.load(e.DestRegister, header[e.Offset:e.Offset+e.Len])
}

// lookup looks a key up in a set or map.
func (r *run) lookup(g *registers, e *expr.Lookup) bool {
	s := r.rules.Sets[e.SetName]
	if s == nil {
		r.unsure = cmp.Or(r.unsure, "set "+e.SetName)
		return false
	}
	value, found := s.find(g.at(e.SourceRegister))
	if found && e.IsDestRegSet {
		g.load(e.DestRegister, value)
	}
	return found != e.Invert
}

// find looks the first octets of a register up. Of a set with intervals an element is a first
// key, and the one that is marked as an end the first key behind.
func (s *Set) find(reg []byte) (value []byte, found bool) {
	if !s.Interval {
		for _, e := range s.Elements {
			if len(e.Key) <= len(reg) && bytes.Equal(e.Key, reg[:len(e.Key)]) {
				return e.Val, true
			}
		}
		return nil, false
	}
	elements := slices.Clone(s.Elements)
	slices.SortFunc(elements, func(a, b nftElement) int { return bytes.Compare(a.Key, b.Key) })
	for _, e := range elements {
		if bytes.Compare(e.Key, reg[:len(e.Key)]) > 0 {
			break
		}
		value, found = e.Val, !e.IntervalEnd
	}
	return value, found
}

// routes evaluates a fib expression.
func (r *run) routes(g *registers, e *expr.Fib) bool {
	ifindex := 0
	if e.FlagIIF {
		ifindex = r.p.IIF.Index
	}
	switch {
	case e.ResultADDRTYPE:
		return g.load(e.Register, number(r.fib.addressType(r.p, e.FlagSADDR, ifindex)))
	case e.ResultOIF && e.FlagSADDR && e.FlagIIF:
		return g.load(e.Register, number(uint32(r.fib.routedBack(r.p, e.FlagMARK))))
	}
	r.unsure = cmp.Or(r.unsure, "a fib expression")
	return true
}

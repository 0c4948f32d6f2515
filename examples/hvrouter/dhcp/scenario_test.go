package dhcp

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// machine plays the core. The inputs:
//
//	guest LINK NAME ADDRESS [mac=M]        serve a guest
//	gone LINK
//	refusals LINK                          what was counted of the guest
//	relay ADDRESS SERVER ...               without words: answer by ourselves
//	say LINK MESSAGE xid=N [wants=A] [has=A] [server=A] [id=HEX] [mac=M] [giaddr=A] [option82] [reply] [times=N]
//	server ADDRESS MESSAGE xid=N [mac=M] [gives=A] [circuit=NAME] [id=HEX] [giaddr=A] [port=N] [astray] [request]
//
// MAC addresses are those of the guest at LINK or, with a server, of the guest NAME; M is
// the last octet.
type machine struct {
	core core
	now  time.Time
}

func newMachine() *machine { return &machine{core: newCore()} }

func macOf(last int) net.HardwareAddr { return net.HardwareAddr{0x50, 0x54, 0x33, 0, 0, byte(last)} }

var kinds = map[string]dhcpv4.MessageType{
	"discover": dhcpv4.MessageTypeDiscover, "offer": dhcpv4.MessageTypeOffer, "request": dhcpv4.MessageTypeRequest, "decline": dhcpv4.MessageTypeDecline,
	"ack": dhcpv4.MessageTypeAck, "nak": dhcpv4.MessageTypeNak, "release": dhcpv4.MessageTypeRelease, "inform": dhcpv4.MessageTypeInform,
	"bootp": dhcpv4.MessageTypeNone,
}

// Do implements scenario.Machine.
func (m *machine) Do(now time.Time, words []string) (out []string, err error) {
	if len(words) == 0 {
		return nil, nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	m.now = now
	switch words[0] {
	case "guest":
		m.guest(words[1:])
	case "gone":
		delete(m.core.guests, number(words[1]))
	case "refusals":
		text := "none"
		for why, n := range m.core.guests[number(words[1])].refusals {
			if n > 0 {
				text = strings.TrimPrefix(text, "none") + fmt.Sprintf(" %v %d", Refusal(why), n)
			}
		}
		return []string{strings.TrimSpace(text)}, nil
	case "relay":
		m.core.relay = Relay{}
		if len(words) > 1 {
			m.core.relay.Address = netip.MustParseAddr(words[1])
			for _, s := range words[2:] {
				m.core.relay.Servers = append(m.core.relay.Servers, netip.MustParseAddr(s))
			}
		}
	case "say":
		return m.say(number(words[1]), words[2], options(words[3:])), nil
	case "server":
		o := options(words[3:])
		p := message(words[2], o, macOf(number(o.get("mac", "7"))), true)
		return m.effects(m.core.fromServer(now, p.ToBytes(), originOf(words[1], o))), nil
	default:
		return nil, fmt.Errorf("unknown word %s", words[0])
	}
	return nil, nil
}

func originOf(server string, o opts) origin {
	_, astray := o["astray"]
	return origin{netip.AddrPortFrom(netip.MustParseAddr(server), uint16(number(o.get("port", "67")))), !astray}
}

func (m *machine) guest(words []string) {
	link := number(words[0])
	l := Lease{Address: netip.MustParseAddr(words[2]), Gateway: netip.MustParseAddr("203.0.113.254"), Length: 24, MAC: macOf(link)}
	if v := options(words[3:]).get("mac", ""); v == "none" {
		l.MAC = nil
	} else if v != "" {
		l.MAC = macOf(number(v))
	}
	m.core.set(link, words[1], l)
}

func (m *machine) say(link int, kind string, o opts) (out []string) {
	for range number(o.get("times", "1")) {
		_, reply := o["reply"]
		p := message(kind, o, macOf(number(o.get("mac", strconv.Itoa(link)))), reply)
		if _, ok := o["option82"]; ok {
			p.UpdateOption(dhcpv4.OptRelayAgentInfo(dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte("vm2"))))
		}
		out = append(out, m.effects(m.core.fromGuest(m.now, p.ToBytes(), link))...)
	}
	return out
}

type opts map[string]string

func options(words []string) opts {
	o := opts{}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		o[k] = v
	}
	return o
}

func (o opts) get(key, otherwise string) string {
	if v, ok := o[key]; ok {
		return v
	}
	return otherwise
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func message(kind string, o opts, mac net.HardwareAddr, reply bool) *dhcpv4.DHCPv4 {
	t, known := kinds[kind]
	if !known {
		panic("no message " + kind)
	}
	p := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, ClientHWAddr: mac, ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero,
		ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero, Options: dhcpv4.Options{}}
	if t != dhcpv4.MessageTypeNone {
		p.UpdateOption(dhcpv4.OptMessageType(t))
	}
	xid := number(o.get("xid", "0"))
	p.TransactionID = dhcpv4.TransactionID{byte(xid >> 24), byte(xid >> 16), byte(xid >> 8), byte(xid)}
	for key, f := range map[string]func(string){
		"wants":  func(v string) { p.UpdateOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(v))) },
		"has":    func(v string) { p.ClientIPAddr = net.ParseIP(v).To4() },
		"gives":  func(v string) { p.YourIPAddr = net.ParseIP(v).To4() },
		"giaddr": func(v string) { p.GatewayIPAddr = net.ParseIP(v).To4() },
		"server": func(v string) { p.UpdateOption(dhcpv4.OptServerIdentifier(net.ParseIP(v))) },
		"circuit": func(v string) {
			p.UpdateOption(dhcpv4.OptRelayAgentInfo(dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte(v))))
		},
		"id": func(v string) { id, _ := hex.DecodeString(v); p.UpdateOption(dhcpv4.OptClientIdentifier(id)) },
	} {
		if v, ok := o[key]; ok {
			f(v)
		}
	}
	if _, ok := o["request"]; reply && !ok {
		p.OpCode = dhcpv4.OpcodeBootReply
		if _, ok := o["giaddr"]; !ok {
			p.GatewayIPAddr = net.IPv4(172, 22, 2, 1).To4()
		}
	}
	return p
}

// effects describes what is done.
func (m *machine) effects(fx effects) (out []string) {
	if fx.refused {
		out = append(out, "refused")
	}
	if fx.answer != nil {
		mac, to, ok := destination(fx.answer)
		out = append(out, fmt.Sprintf("-> %s to %v at %v%s", describe(fx.answer), to, net.HardwareAddr(mac[:]), map[bool]string{false: ": not sent"}[ok]))
	}
	if fx.toServers != nil {
		out = append(out, fmt.Sprintf("-> servers: %s circuit %s hops %d", describe(fx.toServers), fx.toServers.RelayAgentInfo().Get(dhcpv4.AgentCircuitIDSubOption), fx.toServers.HopCount))
	}
	if fx.event != nil {
		out = append(out, strings.TrimSpace(fmt.Sprintf("event %v %s %v %d", fx.event.Kind, fx.event.Interface, fx.event.Address, fx.event.Count)))
	}
	return out
}

func describe(p *dhcpv4.DHCPv4) string {
	x := p.TransactionID
	s := fmt.Sprintf("%v %d", p.MessageType(), int(x[2])<<8|int(x[3]))
	if !p.YourIPAddr.IsUnspecified() {
		s += " of " + p.YourIPAddr.String()
	}
	if id := p.Options.Get(dhcpv4.OptionClientIdentifier); id != nil {
		s += " id " + hex.EncodeToString(id)
	}
	return s
}

func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.scenario", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, newMachine())
	})
}

// TestClients has clients boot, reboot, renew, rebind, decline, release, inform and
// repeat themselves over a network that loses, repeats and delays, with and without a
// relay, beside one that pretends to be a server. Nobody gets what is not his; each who
// asks slowly is bound in the end; nobody is told what he did not ask for; and a server
// that gives an address to every client identifier is never asked for more than there are
// guests.
func TestClients(t *testing.T) {
	for _, relayed := range []bool{false, true} {
		t.Run(map[bool]string{false: "server", true: "relay"}[relayed], func(t *testing.T) {
			scenario.Search{
				Seeds:  200,
				Inputs: func(r *rand.Rand) []string { return clientInputs(r, relayed) },
				Play: func(_ *testing.T, inputs []string) error {
					n := &network{machine: newMachine(), pool: map[string]netip.Addr{}, open: map[int]map[int]bool{}, bound: map[int]bool{}}
					for _, line := range inputs {
						if err := n.play(line); err != nil {
							return fmt.Errorf("%s: %w", line, err)
						}
					}
					return n.settle()
				},
			}.Run(t)
		})
	}
}

const searchGuests = 3

func addressOf(link int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(link)}) }

// clientInputs makes lines of machine's grammar; "deliver N" and "lose N" are about what
// the pool server has to say.
func clientInputs(r *rand.Rand, relayed bool) (out []string) {
	for link := 1; link <= searchGuests; link++ {
		out = append(out, fmt.Sprintf("guest %d vm%d %v", link, link, addressOf(link)))
	}
	if relayed {
		out = append(out, "relay 172.22.2.1 192.0.2.2")
	}
	at := 0
	for range 20 + r.IntN(60) {
		at += r.IntN(2000)
		link, xid := 1+r.IntN(searchGuests+1), 1+r.IntN(6) // one guest is nobody
		wants := addressOf(1 + r.IntN(searchGuests))
		if r.IntN(3) > 0 {
			wants = addressOf(link)
		}
		line := ""
		switch r.IntN(12) {
		case 0, 1, 2:
			line = fmt.Sprintf("say %d discover xid=%d", link, xid)
		case 3:
			line = fmt.Sprintf("say %d request xid=%d wants=%v server=203.0.113.254", link, xid, wants)
		case 4:
			line = fmt.Sprintf("say %d request xid=%d wants=%v", link, xid, wants) // INIT-REBOOT
		case 5:
			line = fmt.Sprintf("say %d request xid=%d has=%v", link, xid, wants) // RENEW, REBIND
		case 6:
			line = fmt.Sprintf("say %d decline xid=%d wants=%v times=%d", link, xid, wants, 1+r.IntN(3))
		case 7:
			line = fmt.Sprintf("say %d release xid=%d has=%v", link, xid, wants)
		case 8:
			line = fmt.Sprintf("say %d inform xid=%d has=%v", link, xid, wants)
		case 9:
			line = fmt.Sprintf("server 192.0.2.2 %s xid=%d mac=%d gives=%v circuit=vm%d", []string{"offer", "ack", "nak"}[r.IntN(3)], xid, link, wants, link)
			if r.IntN(2) == 0 {
				line += " astray"
			}
		default:
			out = append(out, []string{"deliver 1", "lose 1", "repeat 1", "deliver 9"}[r.IntN(4)])
			continue
		}
		if r.IntN(4) == 0 {
			line += fmt.Sprintf(" id=%04x", r.IntN(1<<16))
		}
		if r.IntN(8) == 0 && strings.HasPrefix(line, "say") {
			line += fmt.Sprintf(" mac=%d", 1+r.IntN(250)) // made up
		}
		out = append(out, fmt.Sprintf("+%dms %s", at, line))
	}
	return out
}

// network is the guests' side and, with a relay, a server with a pool that gives an address
// to each client identifier.
type network struct {
	*machine
	at      time.Duration
	waiting []*dhcpv4.DHCPv4 // what the server has to say
	pool    map[string]netip.Addr
	open    map[int]map[int]bool // by link: numbers of requests that the guest waits for
	bound   map[int]bool
}

func (n *network) play(line string) error {
	words := strings.Fields(line)
	if after, ok := strings.CutPrefix(words[0], "+"); ok {
		d, err := time.ParseDuration(after)
		if err != nil {
			return err
		}
		n.at, words = max(n.at, d), words[1:]
	}
	n.now = scenario.Epoch.Add(n.at)
	switch words[0] {
	case "deliver", "repeat", "lose":
		for range number(words[1]) {
			if len(n.waiting) == 0 {
				break
			}
			p := n.waiting[0]
			if words[0] != "repeat" {
				n.waiting = n.waiting[1:]
			}
			if words[0] != "lose" {
				if err := n.check(n.core.fromServer(n.now, p.ToBytes(), originOf("192.0.2.2", nil)), 0); err != nil {
					return err
				}
			}
		}
	case "say":
		link, o := number(words[1]), options(words[3:])
		for range number(o.get("times", "1")) {
			p := message(words[2], o, macOf(number(o.get("mac", strconv.Itoa(link)))), false)
			if n.open[link] == nil {
				n.open[link] = map[int]bool{}
			}
			n.open[link][number(o.get("xid", "0"))] = true
			if err := n.check(n.core.fromGuest(n.now, p.ToBytes(), link), link); err != nil {
				return err
			}
		}
	case "server":
		o := options(words[3:])
		if len(n.core.relay.Servers) == 0 {
			return nil
		}
		from := originOf(words[1], o)
		fx := n.core.fromServer(n.now, message(words[2], o, macOf(number(o["mac"])), true).ToBytes(), from)
		if !from.leads && fx.answer != nil {
			return fmt.Errorf("believed")
		}
		return n.check(fx, 0)
	default:
		_, err := n.Do(n.now, words)
		return err
	}
	return nil
}

// check judges what is done; link is who has just spoken, 0 nobody.
func (n *network) check(fx effects, link int) error {
	if fx.toServers != nil {
		n.serve(fx.toServers)
	}
	if fx.answer == nil {
		return nil
	}
	to := fx.to.link
	x := fx.answer.TransactionID
	switch mac, _, ok := destination(fx.answer); {
	case link != 0 && to != link:
		return fmt.Errorf("answered guest %d", to)
	case !n.open[to][int(x[2])<<8|int(x[3])]:
		return fmt.Errorf("guest %d did not ask for %d", to, x)
	case !ok || mac != [6]byte(macOf(to)) && mac != [6]byte{255, 255, 255, 255, 255, 255}:
		return fmt.Errorf("sent to %x", mac)
	case len(n.core.relay.Servers) == 0 && !fx.answer.YourIPAddr.IsUnspecified() && address(fx.answer.YourIPAddr) != addressOf(to):
		return fmt.Errorf("guest %d is given %v", to, fx.answer.YourIPAddr)
	}
	if fx.answer.MessageType() == dhcpv4.MessageTypeAck {
		n.bound[to] = true
	}
	return nil
}

// serve is the server with a pool.
func (n *network) serve(p *dhcpv4.DHCPv4) {
	id := string(p.Options.Get(dhcpv4.OptionClientIdentifier))
	t := map[dhcpv4.MessageType]dhcpv4.MessageType{dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck}[p.MessageType()]
	if t == 0 {
		return
	}
	if _, ok := n.pool[id]; !ok {
		n.pool[id] = netip.AddrFrom4([4]byte{198, 51, 100, byte(len(n.pool))})
	}
	reply := Lease{Address: n.pool[id], Gateway: netip.MustParseAddr("203.0.113.254")}.grant(p, t)
	reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, p.Options.Get(dhcpv4.OptionRelayAgentInformation)))
	n.waiting = append(n.waiting, reply)
}

// settle has every guest boot in peace.
func (n *network) settle() error {
	n.waiting = nil
	clear(n.bound)
	for link, g := range n.core.guests {
		n.at += time.Minute
		for i, say := range []string{"discover", "request wants=" + g.lease.Address.String() + " server=203.0.113.254"} {
			words := strings.Fields(say)
			line := fmt.Sprintf("+%v say %d %s xid=%d %s", n.at, link, words[0], 1000+i, strings.Join(words[1:], " "))
			if err := n.play(line); err != nil {
				return err
			}
			if err := n.play("deliver 9"); err != nil {
				return err
			}
		}
		if !n.bound[link] {
			return fmt.Errorf("guest %d is not bound", link)
		}
	}
	if len(n.pool) > len(n.core.guests) {
		return fmt.Errorf("%d addresses of the pool are taken by %d guests: %x", len(n.pool), len(n.core.guests), slices.Sorted(maps.Keys(n.pool)))
	}
	return nil
}

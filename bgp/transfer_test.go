package bgp

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestTransferSearch has two speakers exchange random tables over a cable that cuts at
// random. In the end either has what the other originates, in one session. The inputs are
//
//	cut N               the cable cuts by this random sequence
//	short               no messages over 4096 octets
//	originate A I N K   speaker A originates N prefixes from number I on, with K communities
//	withdraw A I N      speaker A withdraws them
//	deaf A T            speaker A hears nothing for a while
//	wait T
//
// and, after which there may have been more than one session:
//
//	sever               the connection is lost
//	reset A | harder A  speaker A resets the session, softly or hard
//	hold A N            speaker A is configured with a hold time of N seconds
//	refuse A | accept A speaker A's import policy
//	down A | up A       speaker A hears that the path has failed, or is back
//	refresh A           speaker A asks for all routes, and sends all again
//	restart A           speaker A is killed, and begins again as one that restarts
func TestTransferSearch(t *testing.T) {
	scenario.Search{Seeds: 15, Inputs: transferInputs, Play: func(t *testing.T, inputs []string) (err error) {
		synctest.Test(t, func(t *testing.T) { err = playTransfer(t, inputs) })
		return err
	}}.Run(t)
}

func transferInputs(r *rand.Rand) []string {
	inputs := []string{fmt.Sprint("cut ", r.Uint32())}
	disturb := r.IntN(2) == 0
	if r.IntN(3) == 0 {
		inputs = append(inputs, "short")
	}
	for range 1 + r.IntN(20) {
		who, first, n := 1+r.IntN(2), r.IntN(30000), 1+r.IntN(1<<r.IntN(16))
		if disturb && r.IntN(3) == 0 {
			words := []string{"sever", "reset 1", "reset 2", "harder 1", "harder 2", "hold 1 3", "hold 2 9", "refuse 1", "accept 1", "refuse 2", "accept 2",
				"down 1", "up 1", "down 2", "up 2", "refresh 1", "refresh 2", "restart 1", "restart 2"}
			inputs = append(inputs, words[r.IntN(len(words))])
			continue
		}
		switch r.IntN(8) {
		case 0:
			inputs = append(inputs, fmt.Sprintf("deaf %d %dms", who, r.IntN(20000)))
		case 1:
			inputs = append(inputs, fmt.Sprintf("withdraw %d %d %d", who, first, n))
		case 2, 3:
			inputs = append(inputs, fmt.Sprintf("wait %dms", r.IntN(1<<r.IntN(16))))
		default:
			inputs = append(inputs, fmt.Sprintf("originate %d %d %d %d", who, first, n, r.IntN(1<<r.IntN(9))))
		}
	}
	return inputs
}

// transfer is two speakers, and what each originates: the number of communities of each
// prefix.
type transfer struct {
	net    *bgptest.Network
	nodes  [3]*node // 1 and 2
	peers  [3]PeerConfig
	tables [3]map[netip.Prefix]int
	cut    bool // there may have been more than one session
}

func playTransfer(t *testing.T, inputs []string) error {
	tr := &transfer{net: &bgptest.Network{}, tables: [3]map[netip.Prefix]int{1: {}, 2: {}}}
	var seed uint64
	long := true
	for _, input := range inputs {
		fmt.Sscanf(input, "cut %d", &seed)
		long = long && input != "short"
	}
	tr.net.Segment(seed)
	tr.peers[1], tr.peers[2] = PeerConfig{Addr: addr2, NoExtendedMessage: !long}, PeerConfig{Addr: addr1, Passive: true}
	for who := 1; who <= 2; who++ {
		tr.start(t, who, false)
	}
	defer func() {
		tr.nodes[1].kill()
		tr.nodes[2].kill()
	}()
	settle(time.Second)
	for _, input := range inputs {
		if err := tr.do(t, input); err != nil {
			return err
		}
	}
	for who := 1; who <= 2; who++ {
		tr.disturb(t, "up", who)
		tr.disturb(t, "accept", who)
	}
	settle(10 * time.Minute)
	for from, peer := range []netip.Addr{1: addr2, 2: addr1} {
		if from == 0 {
			continue
		}
		st, err := tr.nodes[from].Peer(PeerKey{Addr: peer})
		if err != nil || st.State != Established || st.Established != 1 && !tr.cut || st.Restart != RestartNone {
			return fmt.Errorf("speaker %d: %v, %d sessions: %v", from, st.State, st.Established, st.LastError)
		}
		if st.Negotiated.ExtendedMessage != long {
			return fmt.Errorf("extended messages: %v", st.Negotiated.ExtendedMessage)
		}
		if got := tr.learned(3 - from); !maps.Equal(got, tr.tables[from]) {
			return fmt.Errorf("speaker %d originates %d prefixes, %d have come", from, len(tr.tables[from]), len(got))
		}
	}
	return nil
}

var transferAddrs = [...]netip.Addr{1: addr1, 2: addr2}

func (tr *transfer) start(t *testing.T, who int, again bool) {
	tr.nodes[who] = run(t, tr.net, transferAddrs[who], Config{GracefulRestart: GracefulRestart{Enabled: true, Restarting: again, ForwardingPreserved: again}})
	for p, n := range tr.tables[who] {
		_ = tr.originate(who, p, n)
	}
	tr.nodes[who].InventoryComplete()
	tr.nodes[who].peer(tr.peers[who])
}

// disturb does what may end a session.
func (tr *transfer) disturb(t *testing.T, what string, who int) {
	node, c := tr.nodes[who], &tr.peers[who]
	switch what {
	case "sever":
		tr.net.Reset(everybody, everybody)
	case "reset", "harder":
		_ = node.Reset(c.Key(), "", what == "harder")
	case "refuse":
		c.Import = rib.RejectAll
		_ = node.UpdatePeer(*c)
	case "accept":
		c.Import = nil
		_ = node.UpdatePeer(*c)
	case "down":
		_ = node.PathDown(c.Key(), []PathFailure{PathFailureBFDDown, PathFailureBFDDownIndependent, PathFailureCarrierLost}[who])
	case "up":
		_ = node.PathUp(c.Key())
	case "refresh":
		_ = node.Refresh(c.Key())
		_ = node.Resend(c.Key())
	case "restart":
		node.kill()
		tr.start(t, who, true)
	}
}

func (tr *transfer) originate(who int, p netip.Prefix, communities int) error {
	cc := make([]wire.Community, communities)
	for k := range cc {
		cc[k] = wire.Community(k + 1)
	}
	return tr.nodes[who].Table().Originate(rib.LocalPath{Prefix: p, Attrs: wire.PathAttrs{Communities: cc}})
}

func (tr *transfer) do(t *testing.T, input string) error {
	words := strings.Fields(input)
	var who, first, n, communities int
	switch words[0] {
	case "cut", "short":
		return nil
	case "hold":
		fmt.Sscanf(input, "hold %d %d", &who, &n)
		tr.cut = true
		tr.peers[who].HoldTime = time.Duration(n) * time.Second
		return tr.nodes[who].UpdatePeer(tr.peers[who])
	case "sever", "reset", "harder", "refuse", "accept", "down", "up", "refresh", "restart":
		fmt.Sscanf(input, words[0]+" %d", &who)
		tr.cut = true
		tr.disturb(t, words[0], who)
		return nil
	case "wait":
		d, err := time.ParseDuration(words[1])
		settle(d)
		return err
	case "deaf":
		var ms int
		_, err := fmt.Sscanf(input, "deaf %d %dms", &who, &ms)
		tr.net.Stall(everybody, transferAddrs[who], time.Duration(ms)*time.Millisecond)
		return err
	case "originate":
		if _, err := fmt.Sscanf(input, "originate %d %d %d %d", &who, &first, &n, &communities); err != nil {
			return err
		}
	case "withdraw":
		if _, err := fmt.Sscanf(input, "withdraw %d %d %d", &who, &first, &n); err != nil {
			return err
		}
	}
	table := tr.nodes[who].Table()
	for i := first; i < first+n; i++ {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{100 + byte(who), byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		if words[0] == "withdraw" {
			table.Withdraw(p, 0)
			delete(tr.tables[who], p)
			continue
		}
		if err := tr.originate(who, p, communities); err != nil {
			return err
		}
		tr.tables[who][p] = communities
	}
	return nil
}

// learned is what a speaker has from the other.
func (tr *transfer) learned(at int) map[netip.Prefix]int {
	out := map[netip.Prefix]int{}
	for c := range tr.nodes[at].Table().All(wire.IPv4Unicast) {
		for _, p := range c.Paths {
			if !p.Local {
				out[c.Prefix] = len(slices.Collect(p.Attrs.Communities().All()))
			}
		}
	}
	return out
}

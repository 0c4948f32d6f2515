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
func TestTransferSearch(t *testing.T) {
	scenario.Search{Seeds: 15, Inputs: transferInputs, Play: func(t *testing.T, inputs []string) (err error) {
		synctest.Test(t, func(t *testing.T) { err = playTransfer(t, inputs) })
		return err
	}}.Run(t)
}

func transferInputs(r *rand.Rand) []string {
	inputs := []string{fmt.Sprint("cut ", r.Uint32())}
	if r.IntN(3) == 0 {
		inputs = append(inputs, "short")
	}
	for range 1 + r.IntN(20) {
		who, first, n := 1+r.IntN(2), r.IntN(30000), 1+r.IntN(1<<r.IntN(16))
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
	net    *pipeNet
	nodes  [3]*node // 1 and 2
	tables [3]map[netip.Prefix]int
}

func playTransfer(t *testing.T, inputs []string) error {
	tr := &transfer{net: newPipeNet(), tables: [3]map[netip.Prefix]int{1: {}, 2: {}}}
	var seed uint64
	long := true
	for _, input := range inputs {
		fmt.Sscanf(input, "cut %d", &seed)
		long = long && input != "short"
	}
	tr.net.random = rand.New(rand.NewPCG(seed, 0))
	tr.nodes[1], tr.nodes[2] = run(t, tr.net, addr1, Config{}), run(t, tr.net, addr2, Config{})
	defer tr.nodes[1].kill()
	defer tr.nodes[2].kill()
	tr.nodes[1].peer(PeerConfig{Addr: addr2, NoExtendedMessage: !long})
	tr.nodes[2].peer(PeerConfig{Addr: addr1, Passive: true})
	settle(time.Second)
	for _, input := range inputs {
		if err := tr.do(input); err != nil {
			return err
		}
	}
	settle(time.Minute)
	for from, peer := range []netip.Addr{1: addr2, 2: addr1} {
		if from == 0 {
			continue
		}
		st, err := tr.nodes[from].Peer(PeerKey{Addr: peer})
		if err != nil || st.State != Established || st.Established != 1 {
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

func (tr *transfer) do(input string) error {
	words := strings.Fields(input)
	var who, first, n, communities int
	switch words[0] {
	case "cut", "short":
		return nil
	case "wait":
		d, err := time.ParseDuration(words[1])
		settle(d)
		return err
	case "deaf":
		var ms int
		_, err := fmt.Sscanf(input, "deaf %d %dms", &who, &ms)
		tr.net.deafen([]netip.Addr{1: addr1, 2: addr2}[who], time.Duration(ms)*time.Millisecond)
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
		cc := make([]wire.Community, communities)
		for k := range cc {
			cc[k] = wire.Community(k + 1)
		}
		if err := table.Originate(rib.LocalPath{Prefix: p, Attrs: wire.PathAttrs{Communities: cc}}); err != nil {
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

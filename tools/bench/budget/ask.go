package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/internal/afpacket"
	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/ndp"
)

// family is how guests ask for each other in one family.
type family struct {
	name, target string // target: of the CPU for an answer
	etherType    uint16
	// question is the frame with which guest i asks for guest j.
	question func(i, j int) []byte
	// answer reports whether a frame answers a question.
	answer func(frame []byte) bool
}

func mac(i int) arp.MAC { return arp.MAC{0x50, 0x54, 0x33, 0, byte(i >> 8), byte(i)} }

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// prefix6 is a guest's own /64.
func prefix6(i int) string { return fmt.Sprintf("2001:db8:%x::/64", i+1) }

// address6 is a guest's address in a /64 that all of them share: who has the others'
// answered for.
func address6(i int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1))
}

var arpFamily = family{"ARP", "4.5 us", arp.EtherType,
	func(i, j int) []byte {
		frame, _ := arp.NewRequest(mac(i), address(i), address(j)).On(0).AppendBinary(nil)
		return frame
	},
	func(f []byte) bool { return len(f) >= 42 && binary.BigEndian.Uint16(f[20:]) == uint16(arp.OpReply) },
}

var ndpFamily = family{"neighbour solicitations", "5.5 us", ndp.EtherType,
	func(i, j int) []byte {
		dst := ndp.SolicitedNode(address6(j))
		body, _ := ndp.NeighborSolicitation{Target: address6(j), SourceLinkAddr: mac(i)}.AppendBinary(nil)
		p := ndp.Packet{SrcMAC: mac(i), DstMAC: ndp.GroupMAC(dst), Src: address6(i), Dst: dst, Body: body}
		frame, _ := p.AppendBinary(nil)
		return frame
	},
	// 14 octets of Ethernet, 40 of IPv6: the type, and the flag Solicited.
	func(f []byte) bool {
		return len(f) >= 78 && f[54] == byte(ndp.TypeNeighborAdvertisement) && f[58]&0x40 != 0
	},
}

// asker asks in the place of guests, whose ends of their interfaces it has.
type asker struct {
	family
	conn     *afpacket.Conn
	links    []int // by guest
	answered atomic.Int64
	news     chan struct{} // of an answer
	done     chan struct{}
}

// asks makes an asker in the place of the first n guests.
func (m *machine) asks(f family, n int) (a *asker, err error) {
	a = &asker{family: f, links: make([]int, n), news: make(chan struct{}, 1), done: make(chan struct{})}
	err = netns.Do("/run/netns/"+m.peer, func() error {
		all, err := net.Interfaces()
		for _, l := range all {
			var i int
			if _, err := fmt.Sscanf(l.Name, "h%d", &i); err == nil && i < n {
				a.links[i] = l.Index
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if a.conn, err = afpacket.Open(afpacket.Config{NetNS: "/run/netns/" + m.peer, EtherType: f.etherType, FrameSize: 128}); err != nil {
		return nil, err
	}
	if err := a.conn.Add(0); err != nil {
		return nil, errors.Join(err, a.conn.Close())
	}
	go a.hear()
	return a, nil
}

func (a *asker) close() {
	_ = a.conn.Close()
	<-a.done
}

// hear counts answers until the conn is closed.
func (a *asker) hear() {
	defer close(a.done)
	frames := make([]afpacket.Frame, afpacket.Batch)
	for {
		n, err := a.conn.Read(frames)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		for _, f := range frames[:max(n, 0)] {
			if a.answer(f.Data) {
				a.answered.Add(1)
				select {
				case a.news <- struct{}{}:
				default:
				}
			}
		}
	}
}

// ask has guest i ask for guest j, once a millisecond, until there is an answer.
func (a *asker) ask(i, j int) error {
	select {
	case <-a.news: // of an earlier question
	default:
	}
	question := []afpacket.Frame{{Link: a.links[i], Data: a.question(i, j)}}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if _, err := a.conn.Write(question); err != nil {
			return err
		}
		select {
		case <-a.news:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
	return fmt.Errorf("%s of guest %d is not answered", a.name, i)
}

// flood has all guests ask in turn, perSecond questions together, for a time. It returns
// how many questions there were, and answers to them.
func (a *asker) flood(perSecond int, d time.Duration) (sent, answered int64) {
	questions := make([]afpacket.Frame, len(a.links))
	for i := range questions {
		questions[i] = afpacket.Frame{Link: a.links[i], Data: a.question(i, (i+1)%len(questions))}
	}
	before, at := a.answered.Load(), 0
	begin := time.Now()
	for elapsed := time.Duration(0); elapsed < d; elapsed = time.Since(begin) {
		due := int(elapsed.Seconds()*float64(perSecond)) - int(sent)
		due = min(due, afpacket.Batch, len(questions)-at)
		if due <= 0 {
			time.Sleep(100 * time.Microsecond)
			continue
		}
		n, _ := a.conn.Write(questions[at : at+due])
		sent += int64(n)
		at = (at + due) % len(questions)
	}
	for last := before - 1; last != a.answered.Load(); time.Sleep(100 * time.Millisecond) {
		last = a.answered.Load()
	}
	return sent, a.answered.Load() - before
}

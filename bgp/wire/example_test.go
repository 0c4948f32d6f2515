package wire_test

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Two prefixes with the same attributes, into a message and out of it again.
func Example() {
	pref := uint32(100)
	attrs := (&wire.PathAttrs{LocalPref: &pref, Communities: []wire.Community{wire.NewCommunity(65000, 90)}}).Append(nil)
	b := wire.Builder{AS4: true}
	b.Reach(nil, wire.IPv4Unicast, attrs, wire.NextHop{Addr: netip.MustParseAddr("198.51.100.101")})
	b.Add(wire.NLRI{Prefix: netip.MustParsePrefix("203.0.113.1/32")})
	b.Add(wire.NLRI{Prefix: netip.MustParsePrefix("203.0.113.2/32")})
	message := b.Finish()

	h, err := wire.ParseHeader(message, wire.MaxLen)
	if err != nil {
		panic(err)
	}
	var u wire.Update
	if err := u.Parse(message[wire.HeaderLen:h.Len], wire.Options{AS4: true, IBGP: true}); err != nil {
		panic(err)
	}
	for n := range u.Reach(wire.IPv4Unicast) {
		fmt.Println(n, "via", u.NextHop.Addr)
	}
	for c := range u.AppendAttrs(nil).Communities().All() {
		fmt.Println("community", c)
	}
	// Output:
	// 203.0.113.1/32 via 198.51.100.101
	// 203.0.113.2/32 via 198.51.100.101
	// community 65000:90
}

// An error says which message, which attribute, and which RFC.
func ExampleError() {
	body := []byte{0, 0, 0, 4, 0x40, 1, 1, 9, 8, 10} // ORIGIN 9, 10.0.0.0/8
	_, err := wire.ParseUpdate(body, wire.Options{AS4: true, IBGP: true})
	e := err.(*wire.Error)
	fmt.Println(e)
	fmt.Println(e.Disposition == wire.TreatAsWithdraw, e.Notification())
	// Output:
	// UPDATE: ORIGIN: value 9 (RFC 7606, Section 7.1: treat-as-withdraw)
	// true UPDATE Message Error/Invalid ORIGIN Attribute (3/6): 40 01 01 09
}

func ExampleNotification() {
	fmt.Println(wire.HardReset(wire.Shutdown(wire.SubShutdown, "moving to rack 7")))
	// Output:
	// Cease/Hard Reset (6/9): Cease/Administrative Shutdown (6/2): "moving to rack 7"
}

package firewall

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/ndp"
)

// TestAdvertisementFlood: forged router advertisements on an uplink do not fill the kernel's table of neighbours, and a
// few are heard.
func TestAdvertisementFlood(t *testing.T) {
	l := newLab(t)
	l.apply(t, spec())
	began := time.Now()
	sends(t, l.public, "eth0", seq(2000, func(n uint32) []byte {
		mac := ndp.MAC{2, 0, 0, 9, byte(n >> 8), byte(n)}
		from := netip.MustParseAddr(fmt.Sprintf("fe80::f:%x", n+1))
		body, err := ndp.RouterAdvertisement{SourceLinkAddr: mac}.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := (&ndp.Packet{SrcMAC: mac, DstMAC: ndp.GroupMAC(ndp.AllNodes), Src: from, Dst: ndp.AllNodes, HopLimit: 255, Body: body}).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		return frame
	})...)
	most := 2*advertBurst + advertRate*int(time.Since(began)/time.Second+1)
	if n := l.neighbours("a.public"); n < advertBurst/2 || n > most {
		t.Errorf("%d neighbours after 2000 advertisements, want some %d, %d at most", n, advertBurst, most)
	}
	if n := l.drops(t, "advertisement-flood"); n < uint64(2000-most) {
		t.Errorf("dropped: %d", n)
	}
}

package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// packets reads a file, to its end.
func packets(t *testing.T, data []byte) (n int, interfaces []string) {
	t.Helper()
	r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %d packets: %v", n, err)
		}
		if age := time.Since(info.Timestamp); age < 0 || age > time.Minute {
			t.Errorf("packet %d is of %v ago", n, age)
		}
		n++
	}
	for i := range r.NInterfaces() {
		one, err := r.Interface(i)
		if err != nil {
			t.Fatal(err)
		}
		interfaces = append(interfaces, one.Name)
	}
	return n, interfaces
}

// TestLimits: a capture on two interfaces takes what is of the peer and ends by count, by size, by
// time and by its context, with a file that is whole.
func TestLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	a, b := nstest.New(t, "a"), nstest.New(t, "b")
	nstest.Veth(a, "x", "192.0.2.1/30", b, "x", "192.0.2.2/30")
	nstest.Veth(a, "y", "192.0.2.5/30", b, "y", "192.0.2.6/30")
	stop := make(chan struct{})
	defer close(stop)
	var from []*net.UDPConn
	a.Do(func() error {
		for _, to := range []string{"192.0.2.2:3784", "192.0.2.6:3784", "192.0.2.2:53"} {
			c, err := net.Dial("udp", to)
			if err != nil {
				return err
			}
			from = append(from, c.(*net.UDPConn))
		}
		return nil
	})
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			for _, c := range from {
				_, _ = c.Write(make([]byte, 100))
			}
		}
	}()
	at := netip.MustParseAddr
	paths := []Path{{a.Path, "x", at("192.0.2.1"), at("192.0.2.2")}, {a.Path, "y", at("192.0.2.5"), at("192.0.2.6")}}
	for _, x := range []struct {
		limits Limits
		ended  string
	}{
		{Limits{Packets: 7}, EndedByCount},
		{Limits{Octets: 20000}, EndedBySize},
		{Limits{Time: 200 * time.Millisecond}, EndedByTime},
		{Limits{}, EndedByUser},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if x.limits == (Limits{}) {
			time.AfterFunc(100*time.Millisecond, cancel)
		}
		name := filepath.Join(t.TempDir(), "file")
		file, err := Create(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Run(ctx, file, paths, 179, x.limits)
		cancel()
		file.Close()
		if err != nil || r.Ended != x.ended {
			t.Errorf("%+v: %+v, %v", x.limits, r, err)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n, interfaces := packets(t, data)
		if n != r.Packets || n == 0 || int64(len(data)) != r.Octets || strings.Join(interfaces, " ") != "x y" {
			t.Errorf("%+v: %+v, but %d packets of %v in %d octets", x.limits, r, n, interfaces, len(data))
		}
		if x.limits.Packets > 0 && n != x.limits.Packets || x.limits.Octets > 0 && (r.Octets > x.limits.Octets || r.Octets < x.limits.Octets-300) {
			t.Errorf("%+v: %+v", x.limits, r)
		}
		if st, _ := os.Stat(name); st.Mode().Perm() != 0o600 {
			t.Errorf("the file has mode %v", st.Mode())
		}
	}
	if _, err := Run(t.Context(), io.Discard, []Path{{a.Path, "nowhere", at("192.0.2.1"), at("192.0.2.2")}}, 179, Limits{}); err == nil || !strings.Contains(err.Error(), "interface nowhere") {
		t.Errorf("an interface that is not there: %v", err)
	}
}

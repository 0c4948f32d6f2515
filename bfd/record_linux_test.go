package bfd

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestRecord writes what a client, the BFD process and its successor say to each other
// into the directory HYPERFIB_BFD_RECORD: the frames of this version, for the next one to
// understand.
func TestRecord(t *testing.T) {
	dir := os.Getenv("HYPERFIB_BFD_RECORD")
	if dir == "" {
		t.Skip("HYPERFIB_BFD_RECORD says where to")
	}
	p := newPair(t)
	p.b.Sysctl("net/ipv4/ip_forward", "1")
	p.b.Sysctl("net/ipv6/conf/all/forwarding", "1")
	path := filepath.Join(t.TempDir(), "bfd.sock")
	proc := newChild(t, path, time.Minute)

	configs := recordConfigs(p)
	remote := newServer(t)
	for _, c := range configs {
		m := p.mirror(c)
		m.Passive, m.AdminDown = false, false
		if !c.Echo && c.Peer != netip.MustParseAddr("10.9.0.77") {
			remote.add(m)
		}
	}
	r := &recorder{tb: t, path: path}
	client := newClient(t, r.listen(), "daemon")
	for _, c := range configs {
		if err := client.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	stop := runClient(t, client)
	other := newClient(t, path, "other")
	runClient(t, other)
	faster := configs[0]
	faster.DesiredMinTx, faster.Multiplier = ms(50), 4
	if err := other.Add(faster); err != nil {
		t.Fatal(err)
	}
	for _, c := range configs {
		if c.Passive || c.AdminDown || c.RequiredMinRx < 0 || c.Peer == netip.MustParseAddr("10.9.0.77") {
			continue
		}
		waitStatus(t, other, c.Key, "Up", func(s Status) bool { return s.State == StateUp })
	}
	dying := configs[len(configs)-1]
	p.b.Exec("nft", "add table ip t")
	p.b.Exec("nft", "add chain ip t out { type filter hook output priority 0; }")
	p.b.Exec("nft", "add rule ip t out ip daddr "+dying.Local.String()+" drop")
	waitStatus(t, other, dying.Key, "Down", func(s Status) bool { return s.State == StateDown })
	if err := client.Synced(); err != nil {
		t.Fatal(err)
	}
	gone := fast(p.key("10.9.0.88"))
	if err := client.Add(gone); err != nil {
		t.Fatal(err)
	}
	if err := client.Remove(gone.Key); err != nil {
		t.Fatal(err)
	}
	if err := client.Remove(gone.Key); err != ErrNoSession {
		t.Fatal(err)
	}
	bad := configs[0]
	bad.Auth = Auth{Type: AuthSimple, Keys: []AuthKey{{1, "x"}}}
	if err := client.Add(bad); err == nil {
		t.Fatal("another authentication was accepted")
	}
	time.Sleep(time.Second)
	if _, err := client.Sessions(); err != nil {
		t.Fatal(err)
	}
	stop()
	r.write(filepath.Join(dir, "client.txt"), "What a client of version 1 says.", r.up.Bytes())
	r.write(filepath.Join(dir, "server.txt"), "What the BFD process of version 1 says to it.", r.down.Bytes())

	uc, err := systemHost{}.dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	uc.takeFDs()
	var said, heard bytes.Buffer
	var e encoder
	e.begin(frameHandover, 1)
	e.u32(protocolMagic)
	e.u16(handoverVersion)
	_ = e.end()
	said.Write(e.b)
	if _, err := uc.Write(e.b); err != nil {
		t.Fatal(err)
	}
	in := io.TeeReader(uc, &heard)
	for {
		m, err := readFrame(in)
		if err != nil {
			t.Fatal(err)
		}
		if m.typ != frameState {
			t.Fatalf("%+v", m)
		}
		if m.body[0] == partEnd {
			break
		}
	}
	e = encoder{}
	e.begin(frameReply, 1)
	e.string("")
	_ = e.end()
	said.Write(e.b)
	if _, err := uc.Write(e.b); err != nil {
		t.Fatal(err)
	}
	if m, err := readFrame(in); err != nil || m.typ != frameReply {
		t.Fatal(m, err)
	}
	if err := <-proc.done; err != nil {
		t.Fatal(err)
	}
	r.write(filepath.Join(dir, "successor.txt"), "What a successor of version 1 says.", said.Bytes())
	r.write(filepath.Join(dir, "predecessor.txt"), fmt.Sprintf("What a BFD process of version 1 hands over to it, with %d descriptors, 100 an octet at most.", len(uc.takeFDs())), heard.Bytes())
}

// recordConfigs has a session of every kind.
func recordConfigs(p pair) []SessionConfig {
	var list []SessionConfig
	add := func(peer, local string, f func(*SessionConfig)) {
		c := fast(p.key(peer))
		c.Multiplier = 5
		if local != "" {
			c.Local = netip.MustParseAddr(local)
			p.a.IP("addr add " + local + "/24 dev v0")
		}
		f(&c)
		list = append(list, c)
	}
	add("10.9.0.2", "", func(*SessionConfig) {})
	guard := list[0].Key
	add("fd09::2", "", func(c *SessionConfig) {
		c.Failover = []NextHop{{ID: 0x48460001, IfIndex: 7, Gateway: netip.MustParseAddr("10.9.0.2"), Guards: []Key{guard}}, {ID: 5, IfIndex: 8, Gateway: netip.MustParseAddr("fd09::2")}}
	})
	add("fe80::2", "", func(*SessionConfig) {})
	add("10.99.0.2", "", func(c *SessionConfig) { c.MinTTL = 250 })
	for typ := AuthSimple; typ <= AuthMeticulousSHA1; typ++ {
		add("10.9.0.2", fmt.Sprintf("10.9.0.%d", 100+typ), func(c *SessionConfig) {
			c.Auth = Auth{Type: typ, Keys: []AuthKey{{1, "secret"}, {2, "another"}}}
		})
	}
	add("10.9.0.2", "10.9.0.110", func(c *SessionConfig) { c.RequiredMinRx = -1 })
	add("10.9.0.2", "10.9.0.111", func(c *SessionConfig) { c.AdminDown = true })
	add("10.9.0.77", "", func(c *SessionConfig) { c.Passive = true })
	add("10.9.0.2", "10.9.0.112", func(c *SessionConfig) { c.Echo = true })
	add("10.9.0.2", "10.9.0.113", func(c *SessionConfig) {
		c.Failover = []NextHop{{ID: 999, IfIndex: 7, Gateway: netip.MustParseAddr("10.9.0.2"), Guards: []Key{guard}}}
	})
	return list
}

// recorder stands between a client and the BFD process and notes what they say.
type recorder struct {
	tb       testing.TB
	path     string
	up, down bytes.Buffer
}

func (r *recorder) listen() string {
	path := filepath.Join(r.tb.TempDir(), "proxy.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		s, err := net.Dial("unix", r.path)
		if err != nil {
			r.tb.Error(err)
			return
		}
		go func() { _, _ = io.Copy(s, io.TeeReader(c, &r.up)); s.Close() }()
		_, _ = io.Copy(c, io.TeeReader(s, &r.down))
	}()
	return path
}

// write writes a stream, a frame a line: its type, and its octets.
func (r *recorder) write(file, about string, stream []byte) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n# A line is a frame: its type, and all its octets.\n", about)
	for in := bytes.NewReader(stream); in.Len() > 0; {
		at := len(stream) - in.Len()
		m, err := readFrame(in)
		if err != nil {
			r.tb.Fatalf("%s: octet %d: %v", file, at, err)
		}
		fmt.Fprintf(&b, "%d %x\n", m.typ, stream[at:len(stream)-in.Len()])
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		r.tb.Fatal(err)
	}
}

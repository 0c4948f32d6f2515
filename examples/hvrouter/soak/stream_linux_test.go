package soak

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const (
	streamPort = 7
	streamRate = 100             // packets a second, and their echoes
	streamWait = 3 * time.Second // for an echo
)

// stream is packets of one guest to another, which sends them back.
type stream struct {
	name string
	send *net.UDPConn
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	sent []time.Time
	back []byte // who has sent it back, 0 for nobody
}

// listen opens a socket in a namespace.
func listen(t *testing.T, ns *nstest.NS, addr string, port uint16) (c *net.UDPConn) {
	ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), port)))
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// echo has a guest send back what comes to an address of it, marked with who it is.
func echo(t *testing.T, ns *nstest.NS, addr string, who byte) {
	c := listen(t, ns, addr, streamPort)
	go func() {
		buf := make([]byte, 64)
		for {
			n, peer, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(append(buf[:n], who), peer)
		}
	}()
}

// newStream begins one from a guest to an address that is sent back from.
func newStream(t *testing.T, name string, ns *nstest.NS, from, to string) *stream {
	s := &stream{name: name, stop: make(chan struct{}), send: listen(t, ns, from, 0)}
	go func() {
		buf := make([]byte, 64)
		for {
			n, _, err := s.send.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			if i := int(binary.BigEndian.Uint64(buf[:n])); i < len(s.back) {
				s.back[i] = buf[n-1]
			}
			s.mu.Unlock()
		}
	}()
	s.done.Go(func() { s.run(netip.AddrPortFrom(netip.MustParseAddr(to), streamPort)) })
	return s
}

func (s *stream) run(to netip.AddrPort) {
	tick := time.NewTicker(time.Second / streamRate)
	defer tick.Stop()
	for i := uint64(0); ; i++ {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		s.sent, s.back = append(s.sent, time.Now()), append(s.back, 0)
		s.mu.Unlock()
		_, _ = s.send.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, i), to)
	}
}

// flows returns an error unless the last second's packets came back.
func (s *stream) flows() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.back)
	if n < 2*streamRate {
		return fmt.Errorf("stream %s: %d packets so far", s.name, n)
	}
	for i := n - streamRate; i < n-streamRate/4; i++ {
		if s.back[i] == 0 {
			return fmt.Errorf("stream %s: no echo", s.name)
		}
	}
	return nil
}

// by returns who has sent back the newest packet that came back.
func (s *stream) by() byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.back) - 1; i >= 0; i-- {
		if s.back[i] != 0 {
			return s.back[i]
		}
	}
	return 0
}

// missing counts the packets sent within a time and not sent back.
func (s *stream) missing(from, to time.Time) (sent, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, at := range s.sent {
		if at.Before(from) || at.After(to) {
			continue
		}
		if sent++; s.back[i] == 0 {
			lost++
		}
	}
	return sent, lost
}

// outage is a row of packets without an echo.
type outage struct {
	from, to time.Time
	lost     int
}

func (o outage) String() string {
	return fmt.Sprintf("%d packets within %v", o.lost, o.to.Sub(o.from).Round(time.Millisecond))
}

// end stops the stream, and returns what it lost since the time given.
func (s *stream) end(since time.Time) (sent int, lost []outage) {
	close(s.stop)
	s.done.Wait()
	time.Sleep(streamWait)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, at := range s.sent {
		if at.Before(since) {
			continue
		}
		sent++
		if s.back[i] != 0 {
			continue
		}
		if n := len(lost); n > 0 && i > 0 && s.back[i-1] == 0 && s.sent[i-1].Equal(lost[n-1].to) {
			lost[n-1].to = at
			lost[n-1].lost++
			continue
		}
		lost = append(lost, outage{at, at, 1})
	}
	return sent, lost
}
